//! /etc/passwd: names and home directories of users.

use crate::host::opener::{Directory, Target, Tree};

/// More than any local file. The users of a company are in a directory service instead.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub name: String,
    pub home: String,
}

/// The first user with this id, as getpwuid(3) does it.
pub(crate) fn user(root: &Directory, uid: u32) -> Option<User> {
    let content = root.read(Target::below(Tree::Root, "etc", "passwd", MAX_BYTES)).ok()?;
    String::from_utf8_lossy(&content).lines().find_map(|line| parse(line, uid))
}

/// Parses a line `name:password:uid:gid:comment:home:shell` (passwd(5)).
fn parse(line: &str, uid: u32) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let id: u32 = fields.nth(1)?.parse().ok()?;
    let home = fields.nth(2).unwrap_or_default();
    (id == uid).then(|| User { name: name.to_owned(), home: home.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Directory, User, user};
    use crate::host::opener::attacks;

    #[test]
    fn passwd_that_is_not_a_regular_file_of_root_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let host = Directory::at(root.path()).unwrap();
        let path = root.path().join("etc/passwd");
        fs::create_dir(root.path().join("etc")).unwrap();
        attacks::run_each("passwd", &path, || user(&host, 0).is_none());
        fs::write(&path, "root:x:0:0:root:/root:/bin/sh").unwrap();
        assert!(user(&host, 0).is_some());
        assert!(!attacks::give_away(&path) || user(&host, 0).is_none());
    }

    #[test]
    fn user_is_found_by_id_and_malformed_lines_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        let host = Directory::at(root.path()).unwrap();
        assert_eq!(user(&host, 0), None);
        fs::create_dir(root.path().join("etc")).unwrap();
        let lines = "root:x:0:0:root:/root:/bin/sh\n\n:x:7:\nshort\n+::::::\n\
                     app:x:1000:1000::/home/app:\nother:x:1000:1000::/:\nbare:x:5";
        fs::write(root.path().join("etc/passwd"), lines).unwrap();
        let found = |uid| user(&host, uid).map(|User { name, home }| (name, home));
        let owned = |name: &str, home: &str| Some((name.to_owned(), home.to_owned()));
        assert_eq!(found(0), owned("root", "/root"));
        assert_eq!(found(1000), owned("app", "/home/app"));
        assert_eq!(found(5), owned("bare", ""));
        assert_eq!(found(7), None);
        assert_eq!(found(1), None);
    }
}
