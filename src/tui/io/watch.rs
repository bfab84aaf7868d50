//! Stays in touch with the engine: reads everything once, then listens to its events, and begins anew when it is lost.

use super::{backoff, down, read_all};
use crate::client::models::EventMessage;
use crate::client::query_parameters::EventsOptions;
use crate::client::{Docker, Error};
use crate::tui::event::{Event, Link, Listing};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};

/// Events that come this close together are told as one.
const GATHER: Duration = Duration::from_millis(30);
/// How often a silent engine is asked whether it is still there, and how long it may take to say so.
const ASK_EVERY: Duration = Duration::from_secs(5);
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// Never ends by itself.
pub(super) async fn watch(client: Docker, events: UnboundedSender<Event>) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        if let Err(error) = session(&client, &events).await
            && events.send(down(&error)).is_err()
        {
            return;
        }
        if began.elapsed() > Duration::from_secs(10) {
            failures = 0;
        }
        sleep(backoff(failures)).await;
        failures += 1;
    }
}

/// One connection, from the first list to the end of the event stream.
async fn session(client: &Docker, events: &UnboundedSender<Event>) -> Result<(), Error> {
    // The stream is opened first, so that nothing can change unseen between the lists and the first event.
    let mut stream = Box::pin(client.events(None::<EventsOptions>));
    let opened = timeout(Duration::from_millis(1), stream.next()).await;
    read_all(client, events).await?;
    let _ = events.send(Event::Link(Link::Up));
    let mut address = client.address();
    let _ = events.send(Event::Listed(Listing::Address(address.clone())));
    let mut pending: Vec<EventMessage> = Vec::new();
    if let Ok(Some(first)) = opened {
        pending.push(first?);
    }
    let mut is_slow = false;
    loop {
        let wait = if pending.is_empty() { ASK_EVERY } else { GATHER };
        match timeout(wait, stream.next()).await {
            Ok(Some(Ok(message))) => pending.push(message),
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) => {
                let lost = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the engine closed the connection");
                return Err(Error::Io(lost));
            }
            Err(_) if !pending.is_empty() => {
                let _ = events.send(Event::Engine(std::mem::take(&mut pending)));
            }
            Err(_) => {
                let answer = timeout(SLOW_AFTER, client.ping()).await;
                if client.address() != address {
                    address = client.address();
                    let _ = events.send(Event::Listed(Listing::Address(address.clone())));
                }
                match answer {
                    Ok(Ok(_)) if is_slow => {
                        is_slow = false;
                        let _ = events.send(Event::Link(Link::Up));
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {
                        is_slow = true;
                        let _ = events.send(Event::Link(Link::Slow));
                    }
                }
            }
        }
    }
}
