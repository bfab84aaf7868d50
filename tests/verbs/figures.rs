//! `docker stats`: every field, of a container that works and of one that rests.

use serde_json::{Value, json};

use crate::api::{create, exec, get, run, tools};
use crate::support::Yard;

fn is_v2(stats: &Value) -> bool {
    stats["cpu_stats"]["cpu_usage"].get("percpu_usage").is_none()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test]
async fn a_working_container_has_every_figure() {
    let yard = Yard::new();
    tools(&yard).await;
    let limits = json!({"HostConfig": {"Memory": 64 << 20, "NanoCpus": 20_000_000, "PidsLimit": 50}});
    run(&yard, "web", "while :; do :; done", limits);
    let stats = || get(&yard, "/containers/web/stats?stream=false").json();
    let total_of = |cpu: &Value| number(&cpu["cpu_usage"]["total_usage"]);
    // Until it ran between two looks and was throttled: soon, as any turn it gets is longer than its share.
    let mut shown = stats();
    while number(&shown["cpu_stats"]["throttling_data"]["throttled_periods"]) == 0
        || total_of(&shown["cpu_stats"]) <= total_of(&shown["precpu_stats"])
    {
        shown = stats();
    }
    assert_eq!(shown["name"], "/web");
    assert_eq!(shown["id"].as_str().unwrap().len(), 64);
    let (now, before) = (&shown["cpu_stats"], &shown["precpu_stats"]);
    let total = total_of(now);
    assert!(number(&now["system_cpu_usage"]) > number(&before["system_cpu_usage"]));
    assert!(now["cpu_usage"]["usage_in_usermode"].is_u64() && now["cpu_usage"]["usage_in_kernelmode"].is_u64());
    assert!(number(&now["throttling_data"]["periods"]) >= number(&now["throttling_data"]["throttled_periods"]));
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert!(number(&now["online_cpus"]) >= cpus.min(1));
    if !is_v2(&shown) {
        let each: u64 = now["cpu_usage"]["percpu_usage"].as_array().unwrap().iter().map(number).sum();
        assert!(each >= total / 2, "{shown}");
    }
    let used = total - total_of(before);
    assert!(used < 1_000_000_000, "a fiftieth of a processor for a second, not {used} ns");
    assert!(shown["read"].as_str().unwrap() > shown["preread"].as_str().unwrap());

    let memory = &shown["memory_stats"];
    assert_eq!(number(&memory["limit"]), 64 << 20);
    assert!((1..64 << 20).contains(&number(&memory["usage"])), "{memory}");
    let named: &[&str] = if is_v2(&shown) {
        &["anon", "file", "inactive_file", "pgfault"]
    } else {
        assert!(number(&memory["max_usage"]) >= 1 && memory["failcnt"].is_u64(), "{memory}");
        &["cache", "rss", "total_inactive_file", "hierarchical_memory_limit", "total_pgfault"]
    };
    for name in named {
        assert!(memory["stats"][name].is_u64(), "{name} in {memory}");
    }
    assert_eq!((number(&shown["pids_stats"]["limit"]), number(&shown["pids_stats"]["current"])), (50, 1));
    let blkio = &shown["blkio_stats"];
    for list in ["io_service_bytes_recursive", "io_serviced_recursive"] {
        assert!(blkio[list].is_array(), "{list} in {blkio}");
    }
    for list in [
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    ] {
        assert_eq!(blkio[list].is_array(), !is_v2(&shown), "{list} in {blkio}");
    }
    assert_eq!((&shown["num_procs"], &shown["storage_stats"]), (&json!(0), &json!({})));
    assert_eq!(shown.get("networks"), None, "it has no network");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn one_look_at_a_container_that_may_not_run() {
    let yard = Yard::new();
    tools(&yard).await;
    let never = json!("0001-01-01T00:00:00Z");
    run(&yard, "web", "sleep 600", json!({}));
    let once = get(&yard, "/containers/web/stats?stream=false&one-shot=true").json();
    assert_eq!(once["preread"], never);
    assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_ne!(once["read"], never);
    let host: u64 = {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    assert_eq!(number(&once["memory_stats"]["limit"]), host, "without a limit it is the host's memory");
    assert_eq!(once["pids_stats"].get("limit").is_some(), is_v2(&once));

    create(&yard, "new", "true", json!({}));
    let rest = get(&yard, "/containers/new/stats?stream=false").json();
    assert_eq!((&rest["read"], &rest["preread"]), (&never, &never));
    assert_eq!((&rest["memory_stats"], &rest["pids_stats"]), (&json!({}), &json!({})));
    assert_eq!(rest["cpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_eq!(
        get(&yard, "/containers/web/stats?stream=true&one-shot=true").refusal(),
        (400, "cannot have stream=true and one-shot=true".to_owned())
    );
    assert_eq!(get(&yard, "/containers/nope/stats").refusal(), (404, "No such container: nope".to_owned()));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn networks_are_counted_by_interface() {
    let yard = Yard::new();
    tools(&yard).await;
    run(&yard, "web", "sleep 600", json!({"HostConfig": {"NetworkMode": "bridge"}}));
    let networks = get(&yard, "/containers/web/stats?stream=false&one-shot=true").json()["networks"].clone();
    let eth0 = &networks["eth0"];
    for counter in
        ["rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped"]
    {
        assert!(eth0[counter].is_u64(), "{counter} in {networks}");
    }
    assert_eq!(networks.get("lo"), None);
    assert_eq!(exec(&yard, "web", &["true"], json!({})).1, 0);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn top_shows_the_columns_that_ps_would() {
    let yard = Yard::new();
    tools(&yard).await;
    run(&yard, "web", "sleep 601 & sleep 602", json!({"HostConfig": {"PidMode": ""}}));
    let top = |ps_args: &str| get(&yard, &format!("/containers/web/top?ps_args={}", ps_args.replace(' ', "%20")));
    let rows = |ps_args: &str| -> Vec<Vec<String>> {
        serde_json::from_value(top(ps_args).json()["Processes"].clone()).unwrap()
    };
    while rows("-o pid,args").iter().filter(|row| row[1].starts_with("sleep")).count() < 2 {}
    let pid = get(&yard, "/containers/web/json").json()["State"]["Pid"].to_string();

    let full = top("").json();
    assert_eq!(full["Titles"], json!(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]));
    let first = &full["Processes"][0];
    assert_eq!((&first[0], &first[1], &first[7]), (&json!("root"), &json!(pid), &json!("sh -c sleep 601 & sleep 602")));
    assert_eq!(top("-ef").json()["Titles"], full["Titles"]);
    assert_eq!(
        top("aux").json()["Titles"],
        json!(["USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"])
    );
    let mut commands: Vec<String> = rows("-eo pid,comm=NAME").into_iter().map(|row| row[1].clone()).collect();
    commands.sort();
    assert_eq!(commands, ["sh", "sleep", "sleep"]);
    assert_eq!(
        rows("-o pid,ppid,nlwp,ni -C sh").first().map(|row| row[2..].to_vec()),
        Some(vec!["1".into(), "0".into()])
    );
    assert_eq!(rows("-eLf").len(), 3, "one thread each");
    let sorted = rows("-o pid,comm,args --sort=-comm,-args");
    let sorted: Vec<&str> = sorted.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(sorted, ["sleep 602", "sleep 601", "sh -c sleep 601 & sleep 602"]);
    let drawn: Vec<String> = rows("axf").into_iter().map(|row| row[4].clone()).collect();
    assert_eq!(drawn[0], "\\_ sh -c sleep 601 & sleep 602");
    assert!(drawn[1].starts_with("| \\_ sleep 60") || drawn[1].starts_with("\\_ sleep 60"), "{drawn:?}");
    let refused = |ps_args: &str| top(ps_args).refusal();
    assert_eq!(refused("aux --sort colour"), (500, "ps: error: unknown sort specifier".to_owned()));
    assert_eq!(refused("-o user"), (500, "Couldn't find PID field in ps output".to_owned()));
    let unknown = "ps: error: unknown user-defined format specifier \"colour\"";
    assert_eq!(refused("-o pid,colour"), (500, unknown.to_owned()));
    assert_eq!(refused("xyz"), (500, "ps: error: unsupported option (BSD syntax)".to_owned()));
    assert_eq!(get(&yard, "/containers/nope/top").refusal().0, 404);
    create(&yard, "new", "true", json!({}));
    let id = get(&yard, "/containers/new/json").json()["Id"].as_str().unwrap().to_owned();
    assert_eq!(get(&yard, "/containers/new/top").refusal(), (409, format!("container {id} is not running")));
    yard.leaves_nothing_behind().await;
}
