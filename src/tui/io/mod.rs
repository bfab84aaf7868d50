//! Carries out effects on tokio, and keeps open the streams the model wants. Answers come back as events.
//!
//! Nothing here decides anything: what to do is in the effect, what an answer means is in the reducer.

mod jobs;
mod streams;
mod watch;

use super::effect::{Effect, Refresh, Wants};
use super::event::{EngineFacts, Event, Link, Listing, Usage};
use super::job::{Failure, Job, WorkId};
use super::model::log::LogWant;
use crate::client::query_parameters::{ListContainersOptions, ListImagesOptions};
use crate::client::{Docker, Error};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

/// A task that ends when this is dropped.
struct Task(AbortHandle);

impl Task {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The hands of the screen.
pub struct Runner {
    client: Docker,
    events: UnboundedSender<Event>,
    works: HashMap<WorkId, (Job, Task)>,
    stats: BTreeMap<String, Task>,
    logs: Option<(LogWant, Task)>,
    wants: Wants,
    detail: Option<Task>,
    builds: Option<Task>,
    shells: super::shell::Sessions,
    builders: super::workbench::Builders,
    _watch: Task,
}

impl Runner {
    /// Begins to watch the engine.
    pub fn new(client: Docker, events: UnboundedSender<Event>) -> Runner {
        let watch = Task::spawn(watch::watch(client.clone(), events.clone()));
        Runner {
            client,
            events,
            works: HashMap::new(),
            stats: BTreeMap::new(),
            logs: None,
            wants: Wants::default(),
            detail: None,
            builds: None,
            shells: super::shell::Sessions::default(),
            builders: super::workbench::Builders::default(),
            _watch: watch,
        }
    }

    /// Begins one effect. Those of the terminal itself (copy, repaint, quit) are the caller's.
    pub fn run(&mut self, effect: Effect) {
        let (client, events) = (self.client.clone(), self.events.clone());
        match effect {
            Effect::Start(id, job) => {
                let asked = job.clone();
                let task = Task::spawn(async move {
                    let result = jobs::run(&client, &job, |progress| {
                        let _ = events.send(Event::Progress(id, progress));
                    });
                    let result = result.await;
                    let _ = events.send(Event::Finished(id, job, result));
                });
                self.works.retain(|_, (_, task)| !task.0.is_finished());
                self.works.insert(id, (asked, task));
            }
            Effect::Cancel(id) => {
                if let Some((job, task)) = self.works.remove(&id)
                    && !task.0.is_finished()
                {
                    let _ = events.send(Event::Finished(id, job, Err(Failure::cancelled())));
                }
            }
            Effect::Refresh(refresh) => {
                tokio::spawn(async move {
                    if let Ok(listing) = refresh_one(&client, refresh).await {
                        let _ = events.send(Event::Listed(listing));
                    }
                });
            }
            Effect::Shell(effect) => self.shells.carry_out(effect, &client, &events),
            Effect::Workbench(effect) => self.builders.carry_out(effect, &client, &events),
            Effect::ForgetBuild(id) => {
                tokio::spawn(async move {
                    // Gone already is as good; another host never had it.
                    let _ = client.forget_build(&id).await;
                });
            }
            Effect::Copy(_) | Effect::Repaint | Effect::Quit => {}
        }
    }

    /// Opens and closes streams until they are those that are wanted.
    pub fn want(&mut self, wants: Wants) {
        if wants == self.wants && !self.stats.values().any(|task| task.0.is_finished()) {
            return;
        }
        self.stats.retain(|id, task| wants.stats.contains(id) && !task.0.is_finished());
        for id in &wants.stats {
            if !self.stats.contains_key(id) {
                let task = streams::stats(self.client.clone(), id.clone(), self.events.clone());
                self.stats.insert(id.clone(), Task::spawn(task));
            }
        }
        if self.logs.as_ref().map(|(want, _)| want) != wants.logs.as_ref() {
            self.logs = wants.logs.clone().map(|want| {
                let task = streams::logs(self.client.clone(), want.clone(), self.events.clone());
                (want, Task::spawn(task))
            });
        }
        if wants.detail != self.wants.detail {
            self.detail = wants
                .detail
                .clone()
                .map(|key| Task::spawn(streams::detail(self.client.clone(), key, self.events.clone())));
        }
        if wants.builds != self.wants.builds {
            self.builds = wants.builds.then(|| Task::spawn(streams::builds(self.client.clone(), self.events.clone())));
        }
        self.wants = wants;
    }
}

/// What a call failed with, for a person.
fn failure(error: &Error) -> Failure {
    Failure { why: error.to_string(), status: error.status_code().unwrap_or(0), is_cancelled: false }
}

/// Reads one list.
async fn refresh_one(client: &Docker, refresh: Refresh) -> Result<Listing, Error> {
    match refresh {
        Refresh::Containers => Ok(Listing::Containers(containers(client, &[]).await?)),
        Refresh::SomeContainers(asked) => {
            let found = containers(client, &asked).await?;
            Ok(Listing::ContainersPart { asked, found })
        }
        Refresh::Images => {
            let options = ListImagesOptions { shared_size: true, ..Default::default() };
            Ok(Listing::Images(client.list_images(Some(options)).await?))
        }
        Refresh::Volumes => Ok(Listing::Volumes(client.list_volumes(None).await?.volumes.unwrap_or_default())),
        Refresh::Networks => Ok(Listing::Networks(client.list_networks(None).await?)),
        Refresh::Builds => Ok(Listing::Builds(client.builds().await?)),
        Refresh::Usage => Ok(Listing::Usage(usage(client).await?)),
    }
}

async fn containers(client: &Docker, ids: &[String]) -> Result<Vec<crate::client::models::ContainerSummary>, Error> {
    let filters = (!ids.is_empty()).then(|| HashMap::from([("id".to_owned(), ids.to_vec())]));
    client.list_containers(Some(ListContainersOptions { all: true, filters, ..Default::default() })).await
}

/// Sizes, which the engine must walk for.
async fn usage(client: &Docker) -> Result<Usage, Error> {
    Ok(sizes(&client.df_objects().await?))
}

/// Reads `/system/df`. Hosts that leave the lists out tell sums only; then nothing is known of single objects.
fn sizes(answer: &serde_json::Value) -> Usage {
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let volumes = list("Volumes").into_iter().filter_map(|volume| {
        let usage = &volume["UsageData"];
        Some((text(&volume["Name"]), usage["Size"].as_u64()?, usage["RefCount"].as_u64().unwrap_or(0)))
    });
    let containers = list("Containers").into_iter().filter_map(|c| Some((text(&c["Id"]), c["SizeRw"].as_u64()?)));
    let images = list("Images").into_iter().filter_map(|image| {
        let shared = image["SharedSize"].as_u64()?;
        Some((text(&image["Id"]), image["Size"].as_u64()?.saturating_sub(shared)))
    });
    let cache = list("BuildCache").iter().filter_map(|record| record["Size"].as_u64()).sum::<u64>();
    Usage {
        volumes: volumes.collect(),
        containers: containers.collect(),
        images: images.collect(),
        build_cache: answer["BuildCacheUsage"]["TotalSize"].as_u64().unwrap_or(cache),
    }
}

/// What the engine is. Also the first sign of life.
async fn facts(client: &Docker) -> Result<EngineFacts, Error> {
    let version = client.version().await?;
    let info = client.info().await?;
    let yard = client.yard().await.ok();
    let product = if yard.is_some() { "boxyard" } else { "docker" };
    Ok(EngineFacts {
        version: format!("{product} {}", version.version.unwrap_or_default()),
        api_version: version.api_version.unwrap_or_default(),
        root: yard.as_ref().map(|yard| yard.root.clone()).or(info.docker_root_dir).unwrap_or_default(),
        cpus: info.ncpu.unwrap_or_default().max(0) as u32,
        memory: info.mem_total.unwrap_or_default().max(0) as u64,
        is_boxyard: yard.is_some(),
        os: info.operating_system.unwrap_or_default(),
    })
}

/// Sends all lists at once, each as it comes.
async fn read_all(client: &Docker, events: &UnboundedSender<Event>) -> Result<(), Error> {
    let read = |refresh: Refresh| async move {
        let listing = refresh_one(client, refresh).await?;
        let _ = events.send(Event::Listed(listing));
        Ok::<(), Error>(())
    };
    let facts = async {
        let facts = facts(client).await?;
        let _ = events.send(Event::Listed(Listing::Facts(facts)));
        Ok::<(), Error>(())
    };
    let results = tokio::join!(
        read(Refresh::Containers),
        read(Refresh::Images),
        read(Refresh::Volumes),
        read(Refresh::Networks),
        read(Refresh::Builds),
        facts
    );
    // One list that an engine cannot give must not keep the others from the screen.
    let results = [results.0, results.1, results.2, results.3, results.4, results.5];
    match results.into_iter().find(|result| matches!(result, Err(error) if error.is_disconnected())) {
        Some(error) => error,
        None => Ok(()),
    }
}

/// Waits longer after each failure: 0.2 s, doubling, 5 s at most.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(200u64.saturating_mul(1 << failures.min(5))).min(Duration::from_secs(5))
}

fn down(error: &Error) -> Event {
    Event::Link(Link::Down { why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_object_by_object() {
        let usage = sizes(&serde_json::json!({
            "Volumes": [{"Name": "data", "UsageData": {"Size": 7, "RefCount": 1}}, {"Name": "other", "UsageData": {"Size": -1}}],
            "Containers": [{"Id": "c", "SizeRw": 3}, {"Id": "d"}],
            "Images": [{"Id": "i", "Size": 10, "SharedSize": 4}, {"Id": "j", "Size": 10, "SharedSize": -1}],
            "BuildCache": [{"Size": 5}, {"Size": 6}],
        }));
        assert_eq!(usage.volumes, [("data".to_owned(), 7, 1)]);
        assert_eq!(usage.containers, [("c".to_owned(), 3)]);
        assert_eq!(usage.images, [("i".to_owned(), 6)]);
        assert_eq!(usage.build_cache, 11);
    }
}
