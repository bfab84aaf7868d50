//! RUN: from the cache, or in a sandbox whose changes become the layer.

use super::place::Place;
use super::{Done, Work};
use crate::engine::ErrorKind;
use crate::engine::build::cache::Key;
use crate::engine::build::plan::RunStep;
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::run::{Ended, Job};
use crate::engine::build::step::StepTeller;

impl Work<'_> {
    pub(super) async fn run(&self, step: &RunStep, teller: &mut StepTeller) -> Result<Done, BuildFailure> {
        // Without the arguments' values, which are inputs of their own: else a new value would look like a new command.
        let mut key = Key::new("run", format!("RUN {}", step.args.join(" ")), self.result.top())
            .with("user", &step.user)
            .with("working directory", &step.workdir)
            .with("network", step.network.as_deref().unwrap_or("default"));
        for (name, value) in &step.env {
            let kind = if step.build_args.get(name) == Some(value) { "ARG" } else { "ENV" };
            key = key.with(format!("{kind} {name}"), value);
        }
        if let Some((_, script)) = &step.script {
            key = key.with("script", script);
        }
        let key = self.dated(key);
        if let Some(done) = self.cached(&key, teller) {
            return Ok(done);
        }
        let _permit = self.build.permit().await?;
        let mut place = Place::new(self.build, &self.result.layers)?;
        place.add_mount_points()?;
        let job = Job {
            step,
            proxies: self.build.facts.proxies().map(|(name, value)| (name.clone(), value.clone())).collect(),
            limits: &self.build.run,
            root: place.stack.clone(),
            cancel: &self.build.cancel,
        };
        match self.build.runner().run(job, teller).await? {
            Ended::Cancelled => return Err(BuildFailure::cancelled()),
            Ended::Exited { code: 0, .. } => {}
            Ended::Exited { code, oom_killed } => {
                let mut message = format!("The command '{}' returned a non-zero code: {code}", step.args.join(" "));
                if oom_killed {
                    message.push_str(" (the kernel killed it for want of memory)");
                }
                return Err(BuildFailure { kind: ErrorKind::System, message, code: Some(code) });
            }
        }
        let layer = self.blocking(move |build, below| place.commit(build, below)).await?;
        self.keep(key, layer)
    }
}
