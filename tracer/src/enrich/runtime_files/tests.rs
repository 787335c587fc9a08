//! Hosts made of files.

use std::{fs, path::Path};

use super::{Container, look_up};
use crate::enrich::container;

const ID: &str = "9e073649debeec6d511391c9ec7627ee67ce3a3fb508b0fa0437a97f8e58ba98";
const UID: &str = "019c1fe8-0d92-4aa0-b61c-4df58bdde71c";

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path.replace("$ID", ID));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// "name image pod namespace runtime", "-" for an unknown part.
fn found(root: &Path, path: &str) -> String {
    let path = path.replace("$ID", ID);
    let container = container::cgroup_owner(&path).container.unwrap();
    let Container { name, image, pod, namespace, runtime, .. } = look_up(root, &container, &path);
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
    let names = look_up(root.path(), &container, &path);
    assert!(names.is_unnamed());
    let mut filled = container.clone();
    filled.fill_from(&names);
    assert_eq!((container.runtime, filled.runtime.as_deref()), (None, Some("containerd")));
}

#[test]
fn rootless_container_is_found_in_the_home_directory() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/passwd", "me:x:1000:1000::/home/me:/bin/sh\n");
    let list = format!(r#"[{{"id":"{ID}","names":["mine"]}}]"#);
    let storage = "home/me/.local/share/containers/storage/overlay-containers";
    write(root.path(), &format!("{storage}/containers.json"), &list);
    let path = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$ID.scope";
    assert_eq!(found(root.path(), path), "mine - - - -");
    let path = path.replace("1000", "1001");
    assert_eq!(found(root.path(), &path), "- - - - -");
}

/// A file of a user in the place of a bundle. It has the pod of somebody else.
const FORGED: &str = r#"{"annotations":{"io.kubernetes.container.name":"mine",
    "io.kubernetes.pod.name":"payments-0","io.kubernetes.pod.namespace":"kube-system",
    "io.kubernetes.pod.uid":"019c1fe8-0d92-4aa0-b61c-4df58bdde71c"}}"#;

#[test]
fn file_of_a_user_names_no_pod() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/passwd", "me:x:1000:1000::/home/me:/bin/sh\n");
    let file = "run/user/1000/containers/overlay-containers/$ID/userdata/config.json";
    write(root.path(), file, FORGED);
    let path = format!("/user.slice/user-1000.slice/user@1000.service/libpod-{ID}.scope");
    let container = container::cgroup_owner(&path).container.unwrap();
    let names = look_up(root.path(), &container, &path);
    let mine = Container { name: Some("mine".to_owned()), ..Container::default() };
    assert_eq!(names, mine);
    // The same id outside of the user's slice is not his.
    for path in ["/machine.slice/libpod-$ID.scope", "/docker/$ID/user.slice/user-1000.slice/a"] {
        assert_eq!(found(root.path(), path), "- - - - -", "{path}");
    }
}

#[test]
fn container_of_the_system_names_no_cgroup_of_a_user() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "etc/passwd", "me:x:1000:1000::/home/me:/bin/sh\n");
    write(root.path(), "var/lib/docker/containers/$ID/config.v2.json", r#"{"Name":"/payments"}"#);
    let state = "run/containerd/io.containerd.runtime.v2.task/k8s.io/$ID/config.json";
    write(root.path(), state, FORGED);
    write(root.path(), "var/log/containers/web-0_shop_app-$ID.log", "");
    let path = "/user.slice/user-1000.slice/user@1000.service/docker-$ID.scope";
    assert_eq!(found(root.path(), path), "- - - - -");
    assert_eq!(
        found(root.path(), "/system.slice/docker-$ID.scope").split(' ').next(),
        Some("mine")
    );
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
    assert!(look_up(root.path(), &outside, "/lxc/..").is_unnamed());
}
