//! `docker exec`: as whom, where, with what, and what is said when it can't be.

use serde_json::json;

use crate::api::{call, create, ended, exec, exec_create, get, post, run, tools};
use crate::support::Yard;

/// Accounts that containers of these tests have; the shell then waits for good.
const ACCOUNTS: &str = "echo app:x:1000:1000:App:/home/app:/bin/sh >>/etc/passwd; \
    echo web:x:1001:100::/nowhere: >>/etc/passwd; \
    echo users:x:100:app >>/etc/group; echo audio:x:29:app,web >>/etc/group; echo app:x:1000: >>/etc/group; \
    echo extra:x:555: >>/etc/group; mkdir -p /home/app /data; touch /ready; sleep 600";

async fn yard_with(name: &str, change: serde_json::Value) -> Yard {
    let yard = Yard::new();
    tools(&yard).await;
    run(&yard, name, ACCOUNTS, change);
    while exec(&yard, name, &["ls", "/ready"], json!({"User": "0"})).1 != 0 {}
    yard
}

#[tokio::test]
async fn users_are_names_or_ids_with_the_groups_they_have() {
    let yard = yard_with("web", json!({"HostConfig": {"GroupAdd": ["555", "777"]}})).await;
    let id = |user: &str| {
        let script = ["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"];
        let (said, code) = exec(&yard, "web", &script, json!({"User": user}));
        (said.trim().to_owned(), code)
    };
    for (user, expected) in [
        ("", "0 0 0 555 777"),
        ("app", "1000 1000 1000 29 100 555 777"),
        ("1000", "1000 1000 1000 29 100 555 777"),
        ("web", "1001 100 100 29 555 777"),
        ("1000:100", "1000 100 100 555 777"),
        ("app:audio", "1000 29 29 555 777"),
        ("4242", "4242 0 0 555 777"),
        ("4242:4343", "4242 4343 4343 555 777"),
        (":audio", "0 29 29 555 777"),
    ] {
        let (said, code) = id(user);
        let sorted = |text: &str| {
            let mut words: Vec<u32> = text.split(' ').skip(2).map(|word| word.parse().unwrap()).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(code, 0, "{user}: {said}");
        assert_eq!(said.split(' ').take(2).collect::<Vec<_>>(), expected.split(' ').take(2).collect::<Vec<_>>());
        assert_eq!(sorted(&said), sorted(expected), "groups of {user:?}");
    }
    for (user, refusal) in [
        ("nobodyx", "unable to find user nobodyx: no matching entries in passwd file"),
        ("app:none", "unable to find group none: no matching entries in group file"),
        ("../x", "unable to find user ../x: no matching entries in passwd file"),
        ("0x10", "unable to find user 0x10: no matching entries in passwd file"),
        (" app", "unable to find user  app: no matching entries in passwd file"),
        ("-1", "uids and gids must be in range 0-2147483647"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("1000:4294967295", "uids and gids must be in range 0-2147483647"),
    ] {
        let (said, code) = id(user);
        assert!(said.starts_with(refusal), "{user}: {said}");
        assert_eq!(code, 126, "{user}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn environment_and_folder_are_the_containers_unless_given() {
    let yard = yard_with("web", json!({"Env": ["A=1", "B=2"], "WorkingDir": "/data", "User": "0"})).await;
    let script = ["sh", "-c", "echo $A $B $C $HOME $(pwd)"];
    let say = |change| exec(&yard, "web", &script, change).0;
    assert_eq!(say(json!({})), "1 2 /root /data\n");
    assert_eq!(say(json!({"Env": ["B=x y", "C=3"], "User": "app"})), "1 x y 3 /home/app /data\n");
    assert_eq!(say(json!({"Env": ["A", "HOME=/h"], "WorkingDir": "/data/../etc"})), "2 /h /etc\n", "A alone unsets it");
    let refused = |folder: &str| exec(&yard, "web", &["true"], json!({"WorkingDir": folder}));
    let frame = "OCI runtime exec failed: exec failed: ";
    assert_eq!(
        refused("/no/such"),
        (
            format!(
                "{frame}unable to start container process: chdir to cwd (\"/no/such\") set in config.json failed: \
                 no such file or directory: unknown\n"
            ),
            126
        )
    );
    assert!(refused("/etc/passwd").0.contains("not a directory"));
    assert_eq!(refused("relative"), (format!("{frame}Cwd must be an absolute path: unknown\n"), 126));
    let id = exec_create(&yard, "web", &["true"], json!({"WorkingDir": "relative"}));
    let told = post(&yard, &format!("/exec/{id}/start"), &json!({"Detach": true})).refusal();
    assert_eq!(told, (400, format!("{frame}Cwd must be an absolute path: unknown")));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_126_or_127_with_dockers_words() {
    let yard = yard_with("web", json!({})).await;
    let frame = "OCI runtime exec failed: exec failed: unable to start container process: exec: ";
    for (program, words, code) in [
        ("nosuch", "\"nosuch\": executable file not found in $PATH", 127),
        ("/no/such", "\"/no/such\": stat /no/such: no such file or directory", 127),
        ("", "\"\": executable file not found in $PATH", 127),
        ("/etc/passwd", "\"/etc/passwd\": permission denied", 126),
        ("/etc", "\"/etc\": is a directory", 126),
    ] {
        assert_eq!(exec(&yard, "web", &[program], json!({})), (format!("{frame}{words}: unknown\n"), code));
        assert_eq!(exec(&yard, "web", &[program], json!({"Tty": true})), (format!("{frame}{words}: unknown\n"), code));
        let id = exec_create(&yard, "web", &[program], json!({}));
        let told = post(&yard, &format!("/exec/{id}/start"), &json!({"Detach": true}));
        assert_eq!(told.refusal(), (400, format!("{frame}{words}: unknown")));
        assert_eq!(get(&yard, &format!("/exec/{id}/json")).json()["ExitCode"], code);
    }
    for (script, code) in [("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 3", 3)] {
        assert_eq!(exec(&yard, "web", &["sh", "-c", script], json!({})), (String::new(), code));
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_exec_is_told_from_its_making_to_its_end() {
    let yard = yard_with("web", json!({})).await;
    let script = ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 3"];
    let id = exec_create(&yard, "web", &script, json!({"User": "0:0", "AttachStdin": true, "DetachKeys": "a,b"}));
    let shown = || get(&yard, &format!("/exec/{id}/json")).json();
    let made = shown();
    assert_eq!(made["Running"], json!(false));
    assert_eq!(made.get("ExitCode"), Some(&json!(null)), "there, and null");
    assert_eq!(
        made["ProcessConfig"],
        json!({"tty": false, "privileged": false, "user": "0:0", "entrypoint": "sh", "arguments": script[1..].to_vec()})
    );
    assert_eq!(
        (&made["OpenStdin"], &made["OpenStdout"], &made["DetachKeys"]),
        (&json!(true), &json!(true), &json!("a,b"))
    );
    assert_eq!((&made["Pid"], &made["CanRemove"]), (&json!(0), &json!(false)));

    let begin = || post(&yard, &format!("/exec/{id}/start"), &json!({"Detach": true}));
    assert_eq!(begin().status, 200);
    let running = shown();
    assert_eq!((&running["Running"], running.get("ExitCode")), (&json!(true), Some(&json!(null))));
    assert!(running["Pid"].as_i64().unwrap() > 1);
    assert_eq!(begin().refusal(), (409, format!("exec command {id} is already running")));
    assert_eq!(post(&yard, &format!("/exec/{id}/resize?h=9&w=9"), &json!({})).status, 200, "nothing to size is done");
    let listed = get(&yard, "/containers/web/json").json()["ExecIDs"].clone();
    assert_eq!(listed, json!([id]));

    exec(&yard, "web", &["touch", "/go"], json!({}));
    while shown()["Running"] == json!(true) {}
    assert_eq!(shown()["ExitCode"], 3);
    assert_eq!(begin().refusal(), (409, format!("exec command {id} has already run")));
    assert_eq!(get(&yard, "/exec/nope/json").refusal(), (404, "No such exec instance: nope".to_owned()));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_privileged_one_has_all_capabilities_and_a_terminal_is_one() {
    let yard = yard_with("web", json!({"HostConfig": {"CapDrop": ["ALL"]}})).await;
    let capabilities = |change| {
        let (said, _) = exec(&yard, "web", &["grep", "CapEff", "/proc/self/status"], change);
        u64::from_str_radix(said.split_whitespace().last().unwrap(), 16).unwrap()
    };
    const SYS_ADMIN: u64 = 1 << 21;
    assert_eq!(capabilities(json!({})), 0);
    assert_ne!(capabilities(json!({"Privileged": true})) & SYS_ADMIN, 0);
    assert_eq!(capabilities(json!({"Privileged": true, "User": "app"})), 0, "capabilities are root's");
    assert_eq!(exec(&yard, "web", &["tty"], json!({"Tty": true})), ("/dev/pts/0\n".to_owned(), 0));
    assert_eq!(exec(&yard, "web", &["tty"], json!({})), ("not a tty\n".to_owned(), 1));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn no_exec_where_nothing_runs() {
    let yard = yard_with("web", json!({})).await;
    let refusal = |name: &str| post(&yard, &format!("/containers/{name}/exec"), &json!({"Cmd": ["true"]})).refusal();
    let no_command = post(&yard, "/containers/web/exec", &json!({"Cmd": []})).refusal();
    assert_eq!(no_command, (400, "No exec command specified".to_owned()));
    let bad_keys = post(&yard, "/containers/web/exec", &json!({"Cmd": ["true"], "DetachKeys": "ctrl-nope"})).refusal();
    assert_eq!(bad_keys, (400, "Invalid detach keys (ctrl-nope) provided".to_owned()));

    let made_before = exec_create(&yard, "web", &["true"], json!({}));
    assert_eq!(call(&yard, "POST", "/containers/web/pause", None).status, 204);
    let paused = (409, "container web is paused, unpause the container before exec".to_owned());
    assert_eq!(refusal("web"), paused);
    assert_eq!(post(&yard, &format!("/exec/{made_before}/start"), &json!({})).status, 409);
    assert_eq!(call(&yard, "POST", "/containers/web/unpause", None).status, 204);

    create(&yard, "new", "true", json!({}));
    assert_eq!(call(&yard, "POST", "/containers/web/kill", None).status, 204);
    ended(&yard, "web");
    for name in ["web", "new"] {
        let id = get(&yard, &format!("/containers/{name}/json")).json()["Id"].as_str().unwrap().to_owned();
        assert_eq!(refusal(name), (409, format!("container {id} is not running")));
    }
    assert_eq!(refusal("nope"), (404, "No such container: nope".to_owned()));
    yard.leaves_nothing_behind().await;
}
