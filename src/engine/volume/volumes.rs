//! The volumes themselves: made, listed, removed. What containers do with them is `mounting`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bollard_stubs::models as docker;

use super::options::{self, Device};
use super::record::{ANONYMOUS, VolumeRecord, check_name};
use super::usage::disk_usage;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::filters::Filters;
use crate::engine::store::{StateRoot, read_record, write_record};

const DATA: &str = "_data";
const RECORD: &str = "volume.json";

/// Who uses a volume; the container room answers.
pub trait VolumeUsers: Send + Sync {
    /// The IDs of all containers, running or not, that have the volume `name` mounted.
    fn users_of(&self, name: &str) -> Vec<String>;
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListVolumes {
    /// `dangling`, `driver`, `label`, `name`.
    pub filters: Filters,
}

/// All volumes of this engine.
pub struct Volumes {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    root: Arc<StateRoot>,
    folder: PathBuf,
    events: Arc<Events>,
    records: Mutex<BTreeMap<String, VolumeRecord>>,
    users: OnceLock<Arc<dyn VolumeUsers>>,
    // Which containers run with a volume whose device is mounted. Held while one is mounted or unmounted, so that two
    // containers that start at once don't mount it twice.
    devices: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Volumes {
    /// Reads the volumes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(root: Arc<StateRoot>, events: Arc<Events>) -> Result<Self, EngineError> {
        let folder = root.room("volumes").map_err(|error| disk("open", root.path(), error))?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(|error| disk("read", &folder, error))? {
            let path = entry.map_err(|error| disk("read", &folder, error))?.path();
            let record: Option<VolumeRecord> =
                read_record(&path.join(RECORD)).map_err(|error| EngineError::system(error.to_string()))?;
            match record {
                Some(record) => drop(records.insert(record.name.clone(), record)),
                None => tracing::warn!(path = %path.display(), "a volume without a record is left alone"),
            }
        }
        let inner = Inner {
            root,
            folder,
            events,
            records: Mutex::new(records),
            users: OnceLock::new(),
            devices: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells who knows the users of volumes; called once, before the engine's door opens. Later calls change nothing.
    pub fn set_users(&self, users: Arc<dyn VolumeUsers>) {
        let _ = self.inner.users.set(users);
    }

    /// `POST /volumes/create`; an existing volume of the same name is the answer, too.
    ///
    /// # Errors
    /// Docker's words for a malformed name or option (400) and an unknown driver (404).
    pub async fn create(&self, request: docker::VolumeCreateRequest) -> Result<docker::Volume, EngineError> {
        let name = request.name.filter(|name| !name.is_empty());
        let labels: BTreeMap<String, String> = request.labels.unwrap_or_default().into_iter().collect();
        let options: BTreeMap<String, String> = request.driver_opts.unwrap_or_default().into_iter().collect();
        let driver = request.driver.unwrap_or_default();
        self.blocking(move |inner| {
            let record = inner.ensure(name, &driver, options, labels, None)?;
            Ok(inner.show(&record))
        })
        .await
    }

    /// `GET /volumes`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(&self, list: &ListVolumes) -> Result<docker::VolumeListResponse, EngineError> {
        let filters = &list.filters;
        filters.accept(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.flag("dangling")?;
        let records: Vec<VolumeRecord> = self.inner.records().values().cloned().collect();
        let volumes = records
            .iter()
            .filter(|record| filters.exact("driver", "local") && filters.pattern("name", &record.name))
            .filter(|record| filters.labels(&unsorted(&record.labels)))
            .filter(|record| dangling.is_none_or(|wanted| wanted == self.inner.users_of(&record.name).is_empty()))
            .map(|record| self.inner.show(record))
            .collect();
        Ok(docker::VolumeListResponse { volumes: Some(volumes), warnings: Some(Vec::new()) })
    }

    /// `GET /volumes/{name}`.
    ///
    /// # Errors
    /// `get x: no such volume` (404).
    pub fn inspect(&self, name: &str) -> Result<docker::Volume, EngineError> {
        self.inner.find(name).map(|record| self.inner.show(&record))
    }

    /// `DELETE /volumes/{name}`; with `force`, a missing one is success.
    ///
    /// # Errors
    /// Missing (404), in use (409).
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        if force && self.inner.find(name).is_err() {
            return Ok(());
        }
        let name = name.to_owned();
        self.blocking(move |inner| inner.remove(&name)).await.map(drop)
    }

    /// `POST /volumes/prune`: unused anonymous volumes, with `all=1` also named ones; `label`, `label!` filter.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::VolumePruneResponse, EngineError> {
        filters.accept(&["all", "label", "label!"])?;
        let all = filters.flag("all")?.unwrap_or_default();
        let filters = filters.clone();
        self.blocking(move |inner| {
            let records: Vec<VolumeRecord> = inner.records().values().cloned().collect();
            let wanted = records
                .into_iter()
                .filter(|record| (all || record.is_anonymous()) && filters.labels(&unsorted(&record.labels)));
            let mut response =
                docker::VolumePruneResponse { volumes_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
            for record in wanted {
                // One in use stays, and that is no failure.
                let Ok(bytes) = inner.remove(&record.name) else { continue };
                response.volumes_deleted.get_or_insert_default().push(record.name);
                *response.space_reclaimed.get_or_insert_default() += i64::try_from(bytes).unwrap_or(i64::MAX);
            }
            let bytes = response.space_reclaimed.unwrap_or_default().to_string();
            inner.events.publish(docker::EventMessageTypeEnum::VOLUME, "prune", "", [("reclaimed", bytes)]);
            Ok(response)
        })
        .await
    }

    /// All volumes with size and number of users, for `GET /system/df`. Walks the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn usage(&self) -> Result<Vec<docker::Volume>, EngineError> {
        self.blocking(|inner| {
            let records: Vec<VolumeRecord> = inner.records().values().cloned().collect();
            let with_size = |record: &VolumeRecord| docker::Volume {
                usage_data: Some(docker::VolumeUsageData {
                    size: i64::try_from(disk_usage(&inner.data(&record.name))).unwrap_or(i64::MAX),
                    ref_count: i64::try_from(inner.users_of(&record.name).len()).unwrap_or(i64::MAX),
                }),
                ..inner.show(record)
            };
            Ok(records.iter().map(with_size).collect())
        })
        .await
    }

    /// The folder with a volume's content.
    pub fn data(&self, name: &str) -> PathBuf {
        self.inner.data(name)
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|_| Err(EngineError::system("the volume worker ended without an answer")))
    }
}

impl Inner {
    pub(super) fn records(&self) -> MutexGuard<'_, BTreeMap<String, VolumeRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn devices(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<VolumeRecord, EngineError> {
        let missing = || EngineError::not_found(format!("get {name}: no such volume"));
        self.records().get(name).cloned().ok_or_else(missing)
    }

    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(DATA)
    }

    pub(super) fn device(&self, name: &str) -> Result<Device, EngineError> {
        let record = self.find(name)?;
        options::read(&record.options).map_err(|reason| EngineError::invalid(format!("create {name}: {reason}")))
    }

    fn users_of(&self, name: &str) -> Vec<String> {
        self.users.get().map(|users| users.users_of(name)).unwrap_or_default()
    }

    fn show(&self, record: &VolumeRecord) -> docker::Volume {
        docker::Volume {
            name: record.name.clone(),
            driver: "local".to_owned(),
            mountpoint: self.data(&record.name).display().to_string(),
            created_at: Some(record.created.clone()),
            status: None,
            labels: unsorted(&record.labels),
            scope: Some(docker::VolumeScopeEnum::LOCAL),
            cluster_volume: None,
            options: unsorted(&record.options),
            usage_data: None,
        }
    }

    /// The volume of that name, made where it is missing.
    pub(super) fn ensure(
        &self,
        name: Option<String>,
        driver: &str,
        options: BTreeMap<String, String>,
        mut labels: BTreeMap<String, String>,
        made_for: Option<String>,
    ) -> Result<VolumeRecord, EngineError> {
        let name = name.unwrap_or_else(|| {
            labels.entry(ANONYMOUS.to_owned()).or_default();
            new_name()
        });
        if !matches!(driver, "" | "local") {
            let text = format!("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found");
            return Err(EngineError::not_found(text));
        }
        let wrong = |reason: String| EngineError::invalid(format!("create {name}: {reason}"));
        check_name(&name).map_err(wrong)?;
        options::read(&options).map_err(wrong)?;
        if let Ok(existing) = self.find(&name) {
            return Ok(existing);
        }
        let record = VolumeRecord { name, created: jiff::Timestamp::now().to_string(), labels, options, made_for };
        self.keep(&record)
    }

    /// Makes the volume's folder beside its place and moves it there whole. Of two that make the same, one wins and both
    /// have it.
    fn keep(&self, record: &VolumeRecord) -> Result<VolumeRecord, EngineError> {
        let place = self.folder.join(&record.name);
        let refused = |error| disk("create", &place, error);
        let temp = self.root.temp_dir("volume").map_err(refused)?;
        // Docker's own modes: others may pass through to data that its owner opens to them.
        DirBuilder::new().mode(0o755).create(temp.path().join(DATA)).map_err(refused)?;
        write_record(&temp.path().join(RECORD), record).map_err(|error| EngineError::system(error.to_string()))?;
        fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o701)).map_err(refused)?;
        let mut records = self.records();
        if let Some(existing) = records.get(&record.name) {
            return Ok(existing.clone());
        }
        fs::rename(temp.keep(), &place).map_err(refused)?;
        records.insert(record.name.clone(), record.clone());
        drop(records);
        self.publish("create", &record.name, []);
        Ok(record.clone())
    }

    /// Lets an anonymous volume outlive the container it was made for.
    pub(super) fn set_free(&self, name: &str) -> Result<(), EngineError> {
        let Ok(mut record) = self.find(name) else { return Ok(()) };
        record.made_for = None;
        write_record(&self.folder.join(name).join(RECORD), &record)
            .map_err(|error| EngineError::system(error.to_string()).because(error))?;
        self.records().insert(name.to_owned(), record);
        Ok(())
    }

    /// Removes a volume; the answer is how many bytes that freed.
    pub(super) fn remove(&self, name: &str) -> Result<u64, EngineError> {
        self.find(name)?;
        let users = self.users_of(name);
        if !users.is_empty() {
            let text = format!("remove {name}: volume is in use - [{}]", users.join(", "));
            return Err(EngineError::conflict(text));
        }
        let place = self.folder.join(name);
        let bytes = disk_usage(&self.data(name));
        self.detach(name);
        let trash = self.root.discard(&place).map_err(|error| disk("remove", &place, error))?;
        self.records().remove(name);
        self.publish("destroy", name, []);
        // What can't be freed now is freed at the next start.
        let _ = trash.empty();
        Ok(bytes)
    }

    pub(super) fn publish<'a>(&self, action: &str, name: &str, more: impl IntoIterator<Item = (&'a str, String)>) {
        let attributes = [("driver", "local".to_owned())].into_iter().chain(more);
        self.events.publish(docker::EventMessageTypeEnum::VOLUME, action, name, attributes);
    }
}

pub(super) fn disk(action: &str, path: &Path, error: io::Error) -> EngineError {
    EngineError::system(format!("{action} {}: {error}", path.display())).because(error)
}

fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// An anonymous volume's name: 64 random hex digits.
fn new_name() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    hex::encode(bytes)
}
