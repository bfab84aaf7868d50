//! `GET /events`: what happened since, what happens now, until when.

use std::collections::HashMap;
use std::time::Duration;

use bollard_stubs::models as docker;
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::api::call::Call;
use crate::api::reply::Reply;
use crate::engine::EngineError;
use crate::engine::filters::Filters;

/// The filters of moby's `daemon/events/filter.go`.
const KNOWN: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

pub async fn events(call: Call) -> Result<Reply, EngineError> {
    let now = Timestamp::now();
    let query = call.query();
    let (since, until, filters) = (query.moment("since", now)?, query.moment("until", now)?, query.filters()?);
    filters.accept(KNOWN)?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(EngineError::invalid(format!("since time ({since}) cannot be after until time ({until})")));
    }
    let (past, live) = call.engine().events().subscribe();
    let past = past.into_iter().filter(move |event| {
        since.is_some_and(|since| stamp(event) >= since) && until.is_none_or(|until| stamp(event) <= until)
    });
    let end = until.map(|until| Instant::now() + Duration::try_from(until.duration_since(now)).unwrap_or_default());
    let wanted = move |event: &docker::EventMessage| is_wanted(event, &filters);
    let past: Vec<_> = past.filter(&wanted).collect();
    Ok(Reply::lines(follow(past, live, end, wanted)))
}

fn follow(
    past: Vec<docker::EventMessage>,
    live: broadcast::Receiver<docker::EventMessage>,
    end: Option<Instant>,
    wanted: impl Fn(&docker::EventMessage) -> bool + Send + 'static,
) -> impl Stream<Item = WireEvent> + Send {
    stream::unfold((past.into_iter(), live, wanted), move |(mut past, mut live, wanted)| async move {
        if let Some(event) = past.next() {
            return Some((WireEvent::from(event), (past, live, wanted)));
        }
        loop {
            let event = match end {
                Some(end) => tokio::time::timeout_at(end, live.recv()).await.ok()?,
                None => live.recv().await,
            };
            match event {
                Ok(event) if wanted(&event) => return Some((event.into(), (past, live, wanted))),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::debug!(lost, "a client reads events too slowly")
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

/// An event with the three fields that clients before 1.52 read.
#[derive(Debug, Serialize)]
struct WireEvent {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(flatten)]
    event: docker::EventMessage,
}

impl From<docker::EventMessage> for WireEvent {
    fn from(event: docker::EventMessage) -> Self {
        use docker::EventMessageTypeEnum as Kind;
        let actor = event.actor.as_ref();
        let has_old_fields = matches!(event.typ, Some(Kind::CONTAINER | Kind::IMAGE));
        let of = |value: Option<&String>| value.filter(|_| has_old_fields).cloned();
        let from = actor.and_then(|actor| actor.attributes.as_ref()).and_then(|attributes| attributes.get("image"));
        Self {
            status: of(event.action.as_ref()),
            id: of(actor.and_then(|actor| actor.id.as_ref())),
            from: of(from.filter(|_| event.typ == Some(Kind::CONTAINER))),
            event,
        }
    }
}

fn stamp(event: &docker::EventMessage) -> Timestamp {
    event.time_nano.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether `filters` let the event through: each name given must match, by any of its values (labels by all).
fn is_wanted(event: &docker::EventMessage, filters: &Filters) -> bool {
    let none = HashMap::new();
    let actor = event.actor.as_ref();
    let attributes = actor.and_then(|actor| actor.attributes.as_ref()).unwrap_or(&none);
    let id = actor.and_then(|actor| actor.id.as_deref()).unwrap_or_default();
    let name = attributes.get("name").map(String::as_str);
    let kind = event.typ.as_ref().map(ToString::to_string).unwrap_or_default();
    let action = event.action.as_deref().unwrap_or_default();
    let is_object = |filter: &str| {
        let wanted = filters.get(filter);
        wanted.is_empty()
            || (kind == filter && wanted.iter().any(|wanted| id.starts_with(wanted.as_str()) || name == Some(wanted)))
    };
    let is_image = || {
        let wanted = filters.get("image");
        let names = [Some(id), name, attributes.get("image").map(String::as_str)];
        let is_same =
            |have: &str, wanted: &str| have == wanted || have.split_once(':').is_some_and(|(repo, _)| repo == wanted);
        wanted.is_empty() || wanted.iter().any(|wanted| names.iter().flatten().any(|have| is_same(have, wanted)))
    };
    let is_event = || {
        let wanted = filters.get("event");
        // `health_status: healthy` and `exec_start: ls` also answer to the word before the colon.
        let word = action.split(':').next().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|wanted| wanted == action || wanted == word)
    };
    is_event()
        && filters.exact("type", &kind)
        && filters.exact("scope", &event.scope.as_ref().map(ToString::to_string).unwrap_or_default())
        && ["container", "volume", "network", "daemon", "plugin", "node", "service", "secret", "config"]
            .into_iter()
            .all(is_object)
        && is_image()
        && filters.labels(attributes)
}

#[cfg(test)]
mod tests {
    use docker::{EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum};
    use futures_util::StreamExt;

    use super::*;

    fn event(action: &str, attributes: &[(&str, &str)]) -> EventMessage {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some("abcdef".to_owned()), attributes: Some(attributes) }),
            scope: Some(EventMessageScopeEnum::LOCAL),
            time: Some(1),
            time_nano: Some(1_000_000_000),
        }
    }

    #[test]
    fn filters_pick_events() {
        let start = event("health_status: healthy", &[("name", "web"), ("image", "nginx:1"), ("tier", "a")]);
        let check = |name: &str, value: &str, expected: bool| {
            assert_eq!(is_wanted(&start, &Filters::default().with(name, value)), expected, "{name}={value}");
        };
        check("type", "container", true);
        check("type", "image", false);
        check("event", "health_status", true);
        check("event", "die", false);
        check("container", "web", true);
        check("container", "abc", true);
        check("container", "db", false);
        check("network", "web", false);
        check("image", "nginx", true);
        check("image", "nginx:1", true);
        check("image", "redis", false);
        check("label", "tier=a", true);
        check("label", "tier=b", false);
        check("scope", "local", true);
    }

    #[test]
    fn old_fields_stand_beside_the_new() {
        let wire = serde_json::to_value(WireEvent::from(event("start", &[("image", "x")]))).unwrap();
        assert_eq!((&wire["status"], &wire["id"], &wire["from"]), (&"start".into(), &"abcdef".into(), &"x".into()));
        assert_eq!((&wire["Type"], &wire["Action"]), (&"container".into(), &"start".into()));
    }

    #[tokio::test]
    async fn following_ends_at_until() {
        let (send, live) = broadcast::channel(4);
        send.send(event("die", &[])).unwrap();
        let end = Some(Instant::now());
        let seen: Vec<_> = follow(vec![event("start", &[])], live, end, |_| true).collect().await;
        let seen: Vec<_> = seen.iter().filter_map(|event| event.status.as_deref()).collect();
        assert_eq!(seen, ["start", "die"]);
    }
}
