//! Steps that only change the configuration.

use bollard_stubs::models as docker;

use super::{Done, Work};
use crate::engine::build::cache::Key;
use crate::engine::build::plan::StageState;
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::image::ImageConfig;
use crate::engine::layer::Digest;

impl Work<'_> {
    pub(super) async fn configure(
        &self,
        after: &StageState,
        created_by: &str,
        teller: &mut StepTeller,
    ) -> Result<Done, BuildFailure> {
        let before = sorted_json(&self.state.config);
        let key = Key::new("config", created_by, self.result.top())
            .with("configuration", Digest::of(before.as_bytes()).to_string())
            .with("result", Digest::of(sorted_json(&after.config).as_bytes()).to_string());
        match self.cached_quietly(&key, teller).await {
            Some(done) => Ok(done),
            None => self.keep(key, None),
        }
    }
}

fn sorted_json(config: &docker::ImageConfig) -> String {
    let config = ImageConfig { config: config.clone(), ..ImageConfig::default() };
    config.to_bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
