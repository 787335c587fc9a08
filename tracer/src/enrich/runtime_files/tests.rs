//! Hosts made of files.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use super::{Container, Directory, HostFiles, look_up};
use crate::{
    enrich::container::{self, Maker},
    host::{files::write_below, opener::attacks},
};

const ID: &str = "9e073649debeec6d511391c9ec7627ee67ce3a3fb508b0fa0437a97f8e58ba98";
const UID: &str = "019c1fe8-0d92-4aa0-b61c-4df58bdde71c";

fn write(root: &Path, path: &str, content: &str) {
    write_below(root, &path.replace("$ID", ID), content);
}

/// Its cgroups are below `cgroup`.
fn host(root: &Path) -> HostFiles {
    let cgroup_mount = Some(root.join("cgroup"));
    HostFiles { root: Directory::at(root).unwrap(), cgroup_mount }
}

/// Makes the cgroup with this path.
fn make(root: &Path, path: &str) {
    let cgroup = root.join("cgroup").join(path.replace("$ID", ID).trim_matches('/'));
    fs::create_dir_all(cgroup).unwrap();
}

fn names(root: &Path, path: &str) -> Container {
    let host = host(root);
    let container = container::cgroup_owner(path).container.unwrap();
    let maker = host.maker(container::directory(path, &container));
    look_up(&host, &container, path, maker)
}

/// "name image pod namespace runtime", "-" for an unknown part. Its cgroup exists.
fn found(root: &Path, path: &str) -> String {
    make(root, path);
    found_now(root, path)
}

fn found_now(root: &Path, path: &str) -> String {
    let Container { name, image, pod, namespace, runtime, .. } =
        names(root, &path.replace("$ID", ID));
    let parts = [name, image, pod, namespace, runtime];
    parts.map(|part| part.unwrap_or_else(|| "-".to_owned())).join(" ")
}

#[test]
fn look_up_reads_the_files_of_each_runtime() {
    let cri = r#"{"ociVersion":"1.1.0","annotations":{
        "io.kubernetes.cri.container-type":"container",
        "io.kubernetes.cri.container-name":"app",
        "io.kubernetes.cri.image-name":"registry/app:1",
        "io.kubernetes.cri.sandbox-name":"web-0",
        "io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
    let crio = r#"{"annotations":{"io.kubernetes.container.name":"app",
        "io.kubernetes.cri-o.ImageName":"registry/app:1","io.kubernetes.pod.name":"web-0",
        "io.kubernetes.pod.namespace":"shop"}}"#;
    let docker = r#"{"ID":"x","Name":"/hungry_hog","Config":{"Image":"hog:latest",
        "Labels":{}},"State":{"Running":true}}"#;
    let state = "run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID/config.json";
    for (file, content, path, expected) in [
        (state, cri, "/kubepods/pod1/$ID", "app registry/app:1 web-0 shop containerd"),
        (
            &state.replace("k8s.io", "moby"),
            cri,
            "/kubepods/pod1/$ID",
            "app registry/app:1 web-0 shop docker",
        ),
        (
            "run/containers/storage/overlay-containers/$ID/userdata/config.json",
            crio,
            "/kubepods/pod1/$ID",
            "app registry/app:1 web-0 shop cri-o",
        ),
        (
            "var/lib/docker/containers/$ID/config.v2.json",
            docker,
            "/system.slice/docker-$ID.scope",
            "hungry_hog hog:latest - - docker",
        ),
        (
            "var/log/containers/web-0_shop_app-$ID.log",
            "",
            "/kubepods/pod1/$ID",
            "app - web-0 shop -",
        ),
        (
            &format!("var/log/pods/shop_web-0_{UID}/app/0.log"),
            "",
            &format!("/kubepods/burstable/pod{UID}"),
            "- - web-0 shop -",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(found(root.path(), path), "- - - - -", "{file}");
        write(root.path(), file, content);
        assert_eq!(found(root.path(), path), expected, "{file}");
    }
}

#[test]
fn listed_container_is_found_under_each_storage_driver() {
    let podman = format!(
        r#"[{{"id":"0","names":["other"]}},{{"id":"{ID}","names":["hungry"],
        "metadata":"{{\"image-name\":\"localhost/hog:latest\",\"name\":\"hungry\"}}"}}]"#
    );
    for (driver, list, path) in [
        ("overlay", "volatile-containers.json", "/machine.slice/libpod-$ID.scope/container"),
        ("overlay", "containers.json", "/libpod_parent/libpod-$ID"),
        ("vfs", "volatile-containers.json", "/libpod_parent/libpod-$ID"),
        ("btrfs", "containers.json", "/libpod_parent/libpod-$ID"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let file = format!("var/lib/containers/storage/{driver}-containers/{list}");
        write(root.path(), &file, &podman);
        let expected = "hungry localhost/hog:latest - - -";
        assert_eq!(found(root.path(), path), expected, "{driver} {list}");
    }
}

/// A runtime writes its files one after the other: after the first of them, a retry finds more.
#[test]
fn bundle_without_annotations_gives_runtime_without_name() {
    let root = tempfile::tempdir().unwrap();
    let bundle = "run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID/config.json";
    write(root.path(), bundle, r#"{"ociVersion":"1.1.0"}"#);
    let path = format!("/kubepods/pod{UID}/{ID}");
    let container = container::cgroup_owner(&path).container.unwrap();
    make(root.path(), &path);
    let names = names(root.path(), &path);
    assert!(names.is_unnamed());
    let mut filled = container.clone();
    filled.fill_from(&names);
    assert_eq!((container.runtime, filled.runtime.as_deref()), (None, Some("containerd")));
}

/// Any of these could be a device, or a file that blocks.
#[test]
fn file_of_a_runtime_is_read_only_if_it_is_a_regular_file_of_its_owner() {
    let bundle = r#"{"annotations":{"nerdctl/name":"app"}}"#;
    let list = format!(r#"[{{"id":"{ID}","names":["app"]}}]"#);
    let podman = "/machine.slice/libpod-$ID.scope";
    let uid = own_uid();
    let service = format!("/user.slice/user-{uid}.slice/user@{uid}.service/libpod-$ID.scope");
    let run = format!("run/user/{uid}/containers");
    let userdata = "overlay-containers/$ID/userdata/config.json";
    for (file, content, path) in [
        (
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID/config.json".to_owned(),
            bundle,
            "/kubepods/pod1/$ID",
        ),
        (format!("run/containers/storage/{userdata}"), bundle, podman),
        (format!("var/lib/containers/storage/{userdata}"), bundle, podman),
        (format!("{run}/{userdata}"), bundle, service.as_str()),
        (format!("home/me/.local/share/containers/storage/{userdata}"), bundle, &service),
        (
            "var/lib/docker/containers/$ID/config.v2.json".to_owned(),
            r#"{"Name":"/app"}"#,
            "/docker/$ID",
        ),
        ("var/lib/containers/storage/overlay-containers/containers.json".to_owned(), &list, podman),
        (HOME_LIST.to_owned(), &list, &service),
    ] {
        let Rootless { root, .. } = rootless(uid);
        fs::remove_file(root.path().join(HOME_LIST)).unwrap();
        let own_cgroup = service[1..].replace("$ID", ID);
        fs::create_dir_all(root.path().join("cgroup").join(own_cgroup)).unwrap();
        write(root.path(), &file, content);
        let has_name = || found(root.path(), path).starts_with("app ");
        assert!(has_name(), "{file}");
        let at = root.path().join(file.replace("$ID", ID));
        attacks::run_each(&file, &at, || !has_name());
        write(root.path(), &file, content);
        assert!(!attacks::give_away(&at) || !has_name(), "{file}");
    }
}

/// A host with a rootless container of this user, whose files belong to the test's user.
struct Rootless {
    root: tempfile::TempDir,
    uid: u32,
    cgroup: String,
}

const HOME_LIST: &str =
    "home/me/.local/share/containers/storage/overlay-containers/containers.json";

fn rootless(uid: u32) -> Rootless {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/passwd", &format!("me:x:{uid}:{uid}::/home/me:/bin/sh\n"));
    write(root.path(), HOME_LIST, &format!(r#"[{{"id":"{ID}","names":["mine"]}}]"#));
    let service = format!("/user.slice/user-{uid}.slice/user@{uid}.service");
    let cgroup = format!("{service}/user.slice/libpod-{ID}.scope");
    fs::create_dir_all(root.path().join("cgroup").join(&cgroup[1..])).unwrap();
    Rootless { root, uid, cgroup }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn rootless_container_is_found_in_the_home_directory() {
    let Rootless { root, cgroup, .. } = rootless(own_uid());
    let mine = "mine - - - -";
    assert_eq!(found(root.path(), &cgroup), mine);
    assert_eq!(found(root.path(), &format!("{cgroup}/container")), mine);
}

#[test]
fn rootless_container_in_a_cgroup_of_somebody_else_has_no_names() {
    let nothing = "- - - - -";
    // The files belong to that user, but the cgroup does not.
    let Rootless { root, cgroup, .. } = rootless(own_uid() + 1);
    assert_eq!(found_now(root.path(), &cgroup), nothing);
    // The cgroup is that user's, but it is not in the session, or it does not exist.
    let Rootless { root, uid, cgroup } = rootless(own_uid());
    let outside = format!("/user-{uid}.slice/user@{uid}.service/libpod-{ID}.scope");
    fs::create_dir_all(root.path().join("cgroup").join(&outside[1..])).unwrap();
    for path in [outside, cgroup.replace("libpod", "docker")] {
        assert_eq!(found_now(root.path(), &path), nothing, "{path}");
    }
}

/// The user makes root open any file: it could be a device, or secret.
#[test]
fn rootless_file_behind_a_link_or_with_two_names_is_not_read() {
    let elsewhere = |root: &Path| {
        let secret = root.join("secret");
        fs::rename(root.join(HOME_LIST), &secret).unwrap();
        secret
    };
    let by_link = |root: &Path| symlink(elsewhere(root), root.join(HOME_LIST)).unwrap();
    let by_name = |root: &Path| fs::hard_link(elsewhere(root), root.join(HOME_LIST)).unwrap();
    let by_directory = |root: &Path| {
        let storage = root.join("home/me/.local");
        fs::rename(&storage, root.join("local")).unwrap();
        symlink("../../local", storage).unwrap();
    };
    let attacks: [&dyn Fn(&Path); 3] = [&by_link, &by_name, &by_directory];
    for (number, attack) in attacks.into_iter().enumerate() {
        let Rootless { root, cgroup, .. } = rootless(own_uid());
        attack(root.path());
        assert_eq!(found(root.path(), &cgroup), "- - - - -", "{number}");
    }
}

/// A file of a user in the place of a bundle. It has the pod of somebody else.
const FORGED: &str = r#"{"annotations":{"io.kubernetes.container.name":"mine",
    "io.kubernetes.pod.name":"payments-0","io.kubernetes.pod.namespace":"kube-system",
    "io.kubernetes.pod.uid":"019c1fe8-0d92-4aa0-b61c-4df58bdde71c"}}"#;

#[test]
fn file_of_a_user_names_no_pod() {
    let Rootless { root, uid, cgroup } = rootless(own_uid());
    fs::remove_file(root.path().join(HOME_LIST)).unwrap();
    let file = format!("run/user/{uid}/containers/overlay-containers/$ID/userdata/config.json");
    write(root.path(), &file, FORGED);
    let mine = Container { name: Some("mine".to_owned()), ..Container::default() };
    assert_eq!(names(root.path(), &cgroup), mine);
    // The same id outside of the user's slice is not his.
    let in_a_container = format!("/docker/$ID{}", cgroup.replace(ID, "x"));
    for path in ["/machine.slice/libpod-$ID.scope", &in_a_container] {
        assert_eq!(found(root.path(), path), "- - - - -", "{path}");
    }
}

#[test]
fn container_of_the_system_names_no_cgroup_of_a_user() {
    let Rootless { root, cgroup, .. } = rootless(own_uid());
    fs::remove_file(root.path().join(HOME_LIST)).unwrap();
    write(root.path(), "var/lib/docker/containers/$ID/config.v2.json", r#"{"Name":"/payments"}"#);
    let storage = "var/lib/containers/storage/overlay-containers";
    let list = format!(r#"[{{"id":"{ID}","names":["payments"]}}]"#);
    write(root.path(), &format!("{storage}/containers.json"), &list);
    let state = "run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID/config.json";
    write(root.path(), state, FORGED);
    write(root.path(), "var/log/containers/web-0_shop_app-$ID.log", "");
    assert_eq!(found(root.path(), &cgroup), "- - - - -");
    assert_eq!(
        found(root.path(), "/system.slice/docker-$ID.scope").split(' ').next(),
        Some("mine")
    );
}

/// A service that was delegated to a user, who makes a cgroup with the id of somebody's container.
#[test]
fn container_below_a_delegated_cgroup_has_no_names_of_the_system() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "var/lib/docker/containers/$ID/config.v2.json", r#"{"Name":"/payments"}"#);
    write(root.path(), &format!("var/log/pods/shop_web-0_{UID}/app/0.log"), "");
    let service = "/system.slice/their.service";
    let pod = format!("{service}/kubepods/pod{UID}");
    let forged = [format!("{service}/docker-{ID}.scope"), format!("{service}/a/docker/{ID}")];
    for path in forged.iter().chain([&pod]) {
        assert_ne!(found(root.path(), path), "- - - - -", "{path}: the service is root's");
    }
    let other = attacks::other_user();
    let at = |path: &str| root.path().join("cgroup").join(&path[1..]);
    if chown(at(service), Some(other), None).is_err() {
        eprintln!("not run: cgroups of another user, which need root");
        return;
    }
    for path in forged.iter().chain([&pod]) {
        assert_eq!(found(root.path(), path), "- - - - -", "{path}");
        let container = container::cgroup_owner(path).container.unwrap();
        let directory = container::directory(path, &container);
        assert_eq!(host(root.path()).maker(directory), Maker::User(other), "{path}");
    }
    // A runtime may delegate the container's own cgroup: the name was chosen before.
    let own = format!("/system.slice/docker-{ID}.scope");
    make(root.path(), &own);
    chown(at(&own), Some(other), None).unwrap();
    assert_eq!(found(root.path(), &own), "payments - - - docker");
    assert_eq!(found(root.path(), &format!("{own}/docker/x")), "payments - - - docker");
}

#[test]
fn container_below_a_cgroup_that_is_gone_or_not_visible_has_no_names() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "var/lib/docker/containers/$ID/config.v2.json", r#"{"Name":"/payments"}"#);
    let path = format!("/system.slice/gone.service/docker-{ID}.scope");
    assert_eq!(found_now(root.path(), &path), "- - - - -");
    assert_eq!(host(root.path()).maker(&path), Maker::Unknown);
    let without = HostFiles { cgroup_mount: None, ..host(root.path()) };
    assert_eq!(without.maker("/docker-x.scope"), Maker::Unknown);
    // The container itself may be gone: its name was chosen above it.
    make(root.path(), "/system.slice/gone.service");
    assert_eq!(found_now(root.path(), &path), "payments - - - docker");
}

#[test]
fn damaged_or_oversized_file_gives_no_name() {
    let root = tempfile::tempdir().unwrap();
    let file = "var/lib/docker/containers/$ID/config.v2.json";
    for content in ["", "{", "[]", r#"{"Name":7}"#, &"x".repeat((1 << 20) + 1)] {
        write(root.path(), file, content);
        assert_eq!(found(root.path(), "/docker/$ID"), "- - - - -");
    }
    write(root.path(), file, &format!(r#"{{"Name":"/{}"}}"#, "ä".repeat(300)));
    assert_eq!(found(root.path(), "/docker/$ID"), format!("{} - - - docker", "ä".repeat(256)));
    // An id that is no plain name never becomes part of a path.
    let outside = container::cgroup_owner("/lxc/..").container.unwrap();
    let names = look_up(&host(root.path()), &outside, "/lxc/..", Maker::Root);
    assert!(names.is_unnamed());
}
