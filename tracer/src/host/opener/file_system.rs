//! Which file systems are local: a read from them ends, and opening has no side effect.
//!
//! The list has what is allowed, and not what is refused, so that an unknown type is refused: proc,
//! sysfs, tracefs, debugfs, bpf and autofs; FUSE (virtiofs too), NFS, CIFS, 9p, Ceph and the like.
//! devtmpfs has the number of tmpfs. Its devices are refused because they are not regular files.

use std::os::fd::AsFd;

use rustix::fs::fstatfs;

use super::Refusal;

/// Magic numbers: `linux/magic.h`, and the sources of the file system for the others.
const LOCAL: &[(u64, &str)] = &[
    (0xef53, "ext2, ext3, ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs, rootfs"),
    (0x794c_7630, "overlayfs"),
    (0x6175_6673, "aufs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x2fc1_2fc1, "zfs"),
    (0xe0f5_e1e2, "erofs"),
    (0x7371_7368, "squashfs"),
    (0x28cd_3d45, "cramfs"),
    (0x9660, "iso9660"),
    (0x3153_464a, "jfs"),
    (0x5265_4973, "reiserfs"),
    (0x3434, "nilfs2"),
    (0x2405_1905, "ubifs"),
    (0x72b6, "jffs2"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
];

/// Refuses a descriptor on a file system that is not known to be local.
pub(super) fn check(file: impl AsFd) -> Result<(), Refusal> {
    // The kernel's numbers have 32 bits.
    let magic = fstatfs(file)?.f_type.cast_unsigned() & u64::from(u32::MAX);
    if is_local(magic) { Ok(()) } else { Err(Refusal::FileSystem(magic)) }
}

fn is_local(magic: u64) -> bool {
    LOCAL.iter().any(|(known, _)| *known == magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_and_network_file_systems_are_not_local() {
        for (magic, name) in [
            (0x9fa0, "proc"),
            (0x6265_6572, "sysfs"),
            (0x7472_6163, "tracefs"),
            (0x6462_6720, "debugfs"),
            (0xcafe_4a11, "bpf"),
            (0x0187, "autofs"),
            (0x6573_5546, "fuse"),
            (0x6969, "nfs"),
            (0xff53_4d42, "cifs"),
            (0xfe53_4d42, "smb2"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "ceph"),
            (0x6367_7270, "cgroup2"),
            (0x1980_0202, "mqueue"),
            (0x7363_6673, "securityfs"),
        ] {
            assert!(!is_local(magic), "{name}");
        }
    }

    #[test]
    fn check_refuses_proc_and_accepts_a_temporary_file() {
        let proc = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(check(proc), Err(Refusal::FileSystem(0x9fa0)));
        check(tempfile::tempfile().unwrap()).unwrap();
    }
}
