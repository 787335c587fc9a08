//! Paths as hosts have them, from bug reports of other tools.

use proptest::prelude::*;

use super::{MAX_NESTED, Maker, cgroup_owner, directory, keys, tenant, user};
use crate::model::report::{Container, NestedContainer};

const ID: &str = "9e073649debeec6d511391c9ec7627ee67ce3a3fb508b0fa0437a97f8e58ba98";
const UID: &str = "019c1fe8-0d92-4aa0-b61c-4df58bdde71c";
const UID_: &str = "019c1fe8_0d92_4aa0_b61c_4df58bdde71c";
const STATIC_UID: &str = "7db8c8b4b4a9b4e0a6b0c9c1d5a9d1f2";

/// The path with ids for `$ID`, `$UID`, `$UID_`.
fn path(template: &str) -> String {
    template.replace("$UID_", UID_).replace("$UID", UID).replace("$ID", ID)
}

/// "runtime id", "-" for an unknown part.
fn container(path: &str) -> Option<String> {
    let Container { runtime, id, .. } = cgroup_owner(path).container?;
    let word = |word: Option<String>| word.unwrap_or_else(|| "-".to_owned());
    Some(format!("{} {}", word(runtime), word(id)))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn path_of_each_runtime_gives_its_container() {
    for (template, expected) in [
        ("/docker/$ID", "docker $ID"),
        ("/system.slice/docker-$ID.scope", "docker $ID"),
        ("/system.slice/docker-$ID.scope/init.scope", "docker $ID"),
        ("/system.slice:docker:$ID", "docker $ID"),
        ("/mygroup/$ID", "- $ID"),
        ("/actions_job/$ID", "- $ID"),
        ("/ecs/55091c13-b8cf-4801-b527-f4601742204d/$ID", "- $ID"),
        ("/ecs/$ID", "docker $ID"),
        (
            "/ecs/0ef4b5a3f0a04b6b9fde1e4b6d3c2b1a/0ef4b5a3f0a04b6b9fde1e4b6d3c2b1a-2531612879",
            "ecs 0ef4b5a3f0a04b6b9fde1e4b6d3c2b1a-2531612879",
        ),
        ("/default/$ID", "containerd $ID"),
        ("/system.slice/nerdctl-$ID.scope", "containerd $ID"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-$ID.scope",
            "containerd $ID",
        ),
        ("/kubepods/besteffort/pod$UID/$ID", "- $ID"),
        ("/kubepods/burstable/pod$UID/crio-$ID", "cri-o $ID"),
        ("/kubepods.slice/kubepods-pod$UID_.slice/cri-containerd-$ID.scope", "containerd $ID"),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod$UID_.slice/\
            docker-$ID.scope",
            "docker $ID",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$UID_.slice/\
            crio-$ID.scope",
            "cri-o $ID",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$UID_.slice/\
            crio-$ID.scope/container",
            "cri-o $ID",
        ),
        ("/kubepods-besteffort-pod$UID_.slice:cri-containerd:$ID", "containerd $ID"),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod$UID_.slice:cri-containerd:$ID",
            "containerd $ID",
        ),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
            kubelet-kubepods-besteffort-pod$UID_.slice/cri-containerd-$ID.scope",
            "containerd $ID",
        ),
        ("/machine.slice/libpod-$ID.scope", "podman $ID"),
        ("/machine.slice/libpod-$ID.scope/container", "podman $ID"),
        ("/machine.slice/machine-libpod_pod_$ID.slice/libpod-$ID.scope", "podman $ID"),
        ("/libpod_parent/libpod-$ID/ctr", "podman $ID"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$ID.scope/container",
            "podman $ID",
        ),
        (
            "/user.slice/user-1001.slice/user@1001.service/user.slice/\
            user-libpod_pod_e56caed6.slice/libpod-$ID.scope",
            "podman $ID",
        ),
        ("/lxc/web01", "lxc web01"),
        ("/lxc.payload.web01", "lxc web01"),
        ("/lxc.payload/web01/system.slice/nginx.service", "lxc web01"),
        ("/lxc.payload.web01/system.slice/nginx.service", "lxc web01"),
        ("/machine.slice/machine-debian.scope", "systemd-nspawn debian"),
        ("/machine.slice/systemd-nspawn@debian.service/payload", "systemd-nspawn debian"),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dwin11.scope/libvirt/emulator",
            "libvirt-qemu qemu\\x2d1\\x2dwin11",
        ),
        ("/system.slice/runc-test.scope", "runc test"),
        ("/docker/buildkit/p8xzdwolowrhlsfofarc5mtkq", "buildkit p8xzdwolowrhlsfofarc5mtkq"),
        ("/garden/6d4b0a1f-8a7e-4c2b-5c1b-1f2a", "garden 6d4b0a1f-8a7e-4c2b-5c1b-1f2a"),
    ] {
        let found = container(&path(template));
        assert_eq!(found, Some(path(expected)), "{template}");
    }
}

#[test]
fn nested_containers_give_the_outermost_and_claims() {
    let outer = "0".repeat(64);
    let nested = |template: &str| path(template).replace("OUTER", &outer);
    for template in [
        "/docker/OUTER/docker-$ID.scope",
        "/docker/OUTER/docker/$ID",
        "/docker/OUTER/system.slice/docker-$ID.scope",
    ] {
        let found = cgroup_owner(&nested(template)).container.unwrap();
        assert_eq!((found.id, found.claimed), (Some(outer.clone()), false), "{template}");
        let id = Some(ID.to_owned());
        let runtime = Some("docker".to_owned());
        let claim = NestedContainer { runtime, id, ..NestedContainer::claim() };
        assert_eq!(found.nested, [claim], "{template}");
    }
    // A cluster whose nodes are containers, or a name that a container has chosen.
    let found = cgroup_owner(&nested("/docker/OUTER/kubelet/kubepods/burstable/pod$UID/$ID"));
    let found = found.container.unwrap();
    assert_eq!((found.id, found.pod_uid, found.qos), (Some(outer.clone()), None, None));
    let [claim] = found.nested.try_into().unwrap();
    assert_eq!((claim.id.as_deref(), claim.pod_uid.as_deref()), (Some(ID), Some(UID)));
    assert!(claim.claimed);
    let deep = format!("/docker/{outer}{}", "/docker/$ID".repeat(100));
    assert_eq!(cgroup_owner(&path(&deep)).container.unwrap().nested.len(), MAX_NESTED);
}

#[test]
fn container_in_the_slice_of_a_user_is_claimed_and_has_keys_of_its_own() {
    let session = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    for (path, of_user, expected) in [
        (path(&format!("{session}/docker-$ID.scope")), Some(1000), vec![format!("user-1000/{ID}")]),
        (
            path(&format!("{session}/kubepods/pod$UID/$ID")),
            Some(1000),
            vec![format!("user-1000/{ID}")],
        ),
        (path(&format!("{session}/kubepods/pod$UID")), Some(1000), vec![]),
        (path("/kubepods/pod$UID/$ID"), None, vec![ID.to_owned(), UID.to_owned()]),
        // Not the slice of a user of this host.
        (path("/lxc/a/user.slice/user-0.slice/x"), None, vec!["a".to_owned()]),
        (path("/docker/$ID/user.slice/user-0.slice/x"), None, vec![ID.to_owned()]),
    ] {
        let container = cgroup_owner(&path).container.unwrap();
        assert_eq!((container.claimed, user(&path)), (of_user.is_some(), of_user), "{path}");
        let maker = of_user.map_or(Maker::Root, Maker::User);
        assert_eq!(keys(&container, maker), expected, "{path}");
        assert_eq!(keys(&container, Maker::Unknown), [""; 0], "{path}");
    }
}

#[test]
fn directory_ends_with_the_outermost_container_or_pod() {
    for (template, expected) in [
        ("/docker/$ID", "/docker/$ID"),
        ("/system.slice/docker-$ID.scope/init.scope", "/system.slice/docker-$ID.scope"),
        ("/kubepods/burstable/pod$UID/$ID/a/b", "/kubepods/burstable/pod$UID/$ID"),
        ("/kubepods/burstable/pod$UID", "/kubepods/burstable/pod$UID"),
        ("/kubepods/pod$UID/x/y", "/kubepods/pod$UID"),
        ("/docker/$ID/docker/$ID", "/docker/$ID"),
        ("/lxc.payload.a/docker/$ID", "/lxc.payload.a"),
        ("a//docker/$ID/x", "a//docker/$ID"),
    ] {
        let path = path(template);
        let container = cgroup_owner(&path).container.unwrap();
        assert_eq!(directory(&path, &container), self::path(expected), "{template}");
    }
}

/// A tenant can make cgroups only below its own: it must not become several tenants.
#[test]
fn tenant_is_below_the_top_level_and_its_cgroups_are_the_same_tenant() {
    let pod = "kubepods-burstable-pod$UID_.slice";
    for (template, expected) in [
        ("/", ""),
        ("/init.scope", "/init.scope"),
        ("/docker/$ID", "/docker/$ID"),
        ("/system.slice/cron.service", "/system.slice/cron.service"),
        ("/user.slice/user-1000.slice", "/user.slice/user-1000.slice"),
        ("/lxc.payload.a", "/lxc.payload.a"),
        ("/docker-$ID.scope", "/docker-$ID.scope"),
        ("/kubepods/pod$UID", "/kubepods/pod$UID"),
        ("/kubepods/burstable/pod$UID", "/kubepods/burstable/pod$UID"),
        (
            &format!("/kubepods.slice/kubepods-burstable.slice/{pod}"),
            &format!("/kubepods.slice/kubepods-burstable.slice/{pod}"),
        ),
        ("/../../docker/$ID", "/docker/$ID"),
    ] {
        let expected = super::Tenant::new(&path(expected));
        assert_eq!(tenant(&path(template)), expected, "{template}");
        // Top levels: what is below them are tenants of their own.
        if !["/", "/init.scope"].contains(&template) {
            for below in ["a", "docker/$ID", "docker-$ID.scope", "kubepods/burstable/pod$UID"] {
                let path = path(&format!("{template}/{below}"));
                assert_eq!(tenant(&path), expected, "{path}");
            }
        }
    }
    assert_ne!(tenant("/system.slice/a.service"), tenant("/system.slice/b.service"));
}

#[test]
fn cgroup_of_a_runtime_helper_is_not_a_container() {
    for template in [
        "/",
        "",
        "/system.slice/containerd.service",
        "/system.slice/docker.service",
        "/system.slice/docker-registry.service",
        "/machine.slice/libpod-conmon-$ID.scope",
        "/libpod_parent/libpod-conmon-$ID",
        "/libpod_parent/conmon",
        "/kubepods.slice/crio-conmon-$ID.scope",
        "/lxc.monitor.web01",
        "/lxc.pivot",
        "/docker",
        "/machine.slice/machine-.scope",
        "/system.slice/runc-.scope",
        "/kubepods.slice/kubepods-burstable.slice",
        "/kubepods/burstable",
        "/user.slice/user-1000.slice/session-3.scope",
        "/podinfo",
        "/system.slice/foo-podcast.slice",
    ] {
        assert_eq!(cgroup_owner(&path(template)).container, None, "{template}");
    }
}

#[test]
fn pod_path_gives_uid_and_quality_of_service() {
    for (template, qos) in [
        ("/kubepods/burstable/pod$UID/$ID", "burstable"),
        ("/kubepods/besteffort/pod$UID", "besteffort"),
        ("/kubepods/pod$UID/$ID", "guaranteed"),
        ("/kubepods.slice/kubepods-pod$UID_.slice", "guaranteed"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$UID_.slice", "burstable"),
        ("/k/kubelet-kubepods-besteffort-pod$UID_.slice/cri-containerd-$ID.scope", "besteffort"),
        ("/kubepods-burstable-pod$UID_.slice:cri-containerd:$ID", "burstable"),
    ] {
        let found = cgroup_owner(&path(template)).container.unwrap();
        assert_eq!(found.pod_uid.as_deref(), Some(UID), "{template}");
        assert_eq!(found.qos.as_deref(), Some(qos), "{template}");
        assert_eq!(found.id.is_some(), template.contains("$ID"), "{template}");
    }
    let statics = format!("/kubepods/burstable/pod{STATIC_UID}/{ID}");
    assert_eq!(cgroup_owner(&statics).container.unwrap().pod_uid.as_deref(), Some(STATIC_UID));
}

#[test]
fn unit_that_a_process_could_have_named_does_not_count() {
    for (template, unit, slice) in [
        ("/system.slice/app.service/sshd.service", "app.service", "system.slice"),
        (
            "/system.slice/app.service/user.slice/user-0.slice/a.scope",
            "app.service",
            "system.slice",
        ),
        ("/system.slice/app.service/user@0.service/a.scope", "app.service", "system.slice"),
        ("/user.slice/user-7.slice/user@8.service/a.scope", "user@8.service", "user-7.slice"),
        ("/user.slice/user-7.slice/session-1.scope/a.service", "session-1.scope", "user-7.slice"),
        ("/user.slice/user-7.slice/user@7.service/a.service/b.scope", "a.service", "user-7.slice"),
        ("/system.slice/docker-$ID.scope/init.scope", "docker-$ID.scope", "system.slice"),
        ("/docker/$ID/system.slice/nginx.service", "", ""),
        ("/lxc.payload.web01/system.slice/nginx.service", "", ""),
    ] {
        let owner = cgroup_owner(&path(template));
        assert_eq!(owner.unit.unwrap_or_default(), path(unit), "{template}");
        assert_eq!(owner.slice.unwrap_or_default(), slice, "{template}");
    }
}

#[test]
fn unit_of_a_user_and_nested_slices_give_the_innermost() {
    for (path, unit, slice) in [
        ("/system.slice/postgresql.service", "postgresql.service", "system.slice"),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "postgresql@15-main.service",
            "system-postgresql.slice",
        ),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "user-1000.slice"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4711.scope",
            "app-gnome-firefox-4711.scope",
            "app.slice",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            "init.scope",
            "user-1000.slice",
        ),
        ("/kubepods/pod1", "", ""),
        ("/init.scope", "init.scope", ""),
    ] {
        let owner = cgroup_owner(path);
        assert_eq!(owner.unit.unwrap_or_default(), unit, "{path}");
        assert_eq!(owner.slice.unwrap_or_default(), slice, "{path}");
    }
}

proptest! {
    #[test]
    fn random_path_gives_only_names_from_the_path(
        names in prop::collection::vec(
            prop_oneof![
                Just(format!("docker-{ID}.scope")),
                Just(format!("libpod-conmon-{ID}.scope")),
                Just(format!("kubepods-pod{UID_}.slice:crio:{ID}")),
                Just("docker".to_owned()),
                Just("lxc".to_owned()),
                "(machine-|docker-|pod|lxc.payload.|a:crio:|a-pod)[a-f0-9:_.-]{0,70}",
                "[a-f0-9]{60,66}",
                "\\PC{0,20}",
            ],
            0..6,
        ),
    ) {
        let path = names.join("/");
        let owner = cgroup_owner(&path);
        let container = owner.container.unwrap_or_default();
        prop_assert!(path.starts_with(directory(&path, &container)));
        let parts = [container.id, owner.unit, owner.slice];
        for part in parts.into_iter().flatten() {
            prop_assert!(!part.is_empty() && path.contains(&part), "{part:?} in {path:?}");
        }
        if let Some(uid) = container.pod_uid {
            prop_assert!(path.contains(&uid) || path.replace('_', "-").contains(&uid));
        }
    }
}
