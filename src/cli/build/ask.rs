//! The flags as the engine reads them: the query of `POST /build`.

use std::collections::BTreeMap;
use std::env;

use super::flags::Build;
use super::output::Outputs;
use crate::buildkit::CacheWay;
use crate::cli::create::ulimit;
use crate::client::BuildCall;

/// Puts everything but the files into the request.
///
/// # Errors
/// A flag's value that can't be read.
pub fn ask(flags: &Build, outputs: &Outputs) -> anyhow::Result<BuildCall> {
    for (way, texts) in [(CacheWay::From, &flags.cache_from), (CacheWay::To, &flags.cache_to)] {
        texts.iter().try_for_each(|text| way.parse(text).map(drop))?;
    }
    let mut call = BuildCall::default();
    for tag in &flags.tag {
        call.add("t", tag.as_str());
    }
    for host in &flags.add_host {
        call.add("extrahosts", extra_host(host)?);
    }
    let ulimits = flags.ulimit.iter().map(|text| ulimit(text)).collect::<Result<Vec<_>, _>>();
    call.switch("q", flags.quiet)
        .switch("rm", true)
        .switch("nocache", flags.no_cache)
        .add("nocachefilter", flags.no_cache_filter.join(","))
        .json("cachefrom", &flags.cache_from)
        .json("cacheto", &flags.cache_to)
        .switch("pull", flags.pull)
        .add("target", flags.target.as_str())
        .add("platform", flags.platform.first().cloned().unwrap_or_default())
        .json("buildargs", &arguments(&flags.build_arg))
        .json("labels", &labels(&flags.label))
        .json("allow", &flags.allow)
        .add("networkmode", flags.network.clone().unwrap_or_default())
        .add("cgroupparent", flags.cgroup_parent.clone().unwrap_or_default())
        .add("cpusetcpus", flags.cpuset_cpus.clone().unwrap_or_default())
        .add("cpusetmems", flags.cpuset_mems.clone().unwrap_or_default())
        .number("memory", flags.memory)
        .number("memswap", flags.memory_swap)
        .number("cpushares", flags.cpu_shares)
        .number("cpuperiod", flags.cpu_period)
        .number("cpuquota", flags.cpu_quota)
        .number("shmsize", flags.shm_size)
        .json("outputs", &outputs.asked)
        .json("annotations", &annotations(&flags.annotation)?)
        .json("ulimits", &ulimits.map_err(anyhow::Error::msg)?);
    Ok(call)
}

/// `NAME=VALUE`, or `NAME` for our own value of it. SOURCE_DATE_EPOCH is handed on unasked, as buildx does.
pub fn arguments(texts: &[String]) -> BTreeMap<String, Option<String>> {
    arguments_with(texts, |name| env::var(name).ok())
}

fn arguments_with(texts: &[String], ours: impl Fn(&str) -> Option<String>) -> BTreeMap<String, Option<String>> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let epoch = ours(EPOCH).map(|value| (EPOCH.to_owned(), Some(value)));
    let given = texts.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), ours(text)),
    });
    epoch.into_iter().chain(given).collect()
}

fn labels(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    texts.iter().map(pair).collect()
}

/// `KEY=VALUE`, which may carry `manifest:` before it: there is no index here that others could be for.
fn annotations(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let annotation = text.strip_prefix("manifest:").unwrap_or(text);
        for kind in ["index:", "manifest-descriptor:", "index-descriptor:"] {
            if annotation.starts_with(kind) {
                anyhow::bail!("--annotation {text}: only manifests are annotated, no {kind}");
            }
        }
        let pair = annotation.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| anyhow::anyhow!("--annotation {text}: KEY=VALUE is wanted"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    texts.iter().map(pair).collect()
}

/// `NAME:ADDRESS`; buildx also takes `NAME=ADDRESS` and brackets around the address.
fn extra_host(text: &str) -> anyhow::Result<String> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = split.filter(|(name, address)| !name.is_empty() && !address.is_empty()) else {
        anyhow::bail!("--add-host {text}: NAME:ADDRESS is wanted");
    };
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        anyhow::bail!("--add-host {text}: {address} is neither an address nor host-gateway");
    }
    Ok(format!("{name}:{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_without_a_value_take_ours() {
        let texts = ["A=1", "B", "C", "D="].map(str::to_owned);
        let ours = |name: &str| match name {
            "B" => Some("ours".to_owned()),
            "SOURCE_DATE_EPOCH" => Some("7".to_owned()),
            _ => None,
        };
        let found = serde_json::to_string(&arguments_with(&texts, ours)).unwrap();
        assert_eq!(found, r#"{"A":"1","B":"ours","C":null,"D":"","SOURCE_DATE_EPOCH":"7"}"#);
    }

    #[test]
    fn annotations_are_of_manifests() {
        let check = |text: &str| annotations(&[text.to_owned()]).map_err(|error| error.to_string());
        let expected = Ok(BTreeMap::from([("a.b".to_owned(), "c=d".to_owned())]));
        assert_eq!([check("a.b=c=d"), check("manifest:a.b=c=d")], [expected.clone(), expected]);
        assert!(check("index:a=b").unwrap_err().contains("only manifests") && check("a").is_err());
    }

    #[test]
    fn hosts_come_in_all_spellings() {
        let check = |text: &str| extra_host(text).map_err(|error| error.to_string());
        assert_eq!(check("a:10.0.0.1"), Ok("a:10.0.0.1".into()));
        assert_eq!(check("a=::1"), Ok("a:::1".into()));
        assert_eq!(check("a:[::1]"), Ok("a:::1".into()));
        assert_eq!(check("a:host-gateway"), Ok("a:host-gateway".into()));
        assert!(check("a:b").is_err() && check("a").is_err() && check(":1.2.3.4").is_err());
    }
}
