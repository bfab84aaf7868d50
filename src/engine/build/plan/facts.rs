//! What stays the same for a whole build: the arguments given, and those declared before the first FROM.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::PlanError;
use super::words::expanded;
use crate::dockerfile::expand::Escape;
use crate::dockerfile::{Body, Instruction, PROXY_ARGS};
use crate::engine::build::source::ContextSpecs;

/// What stays the same for a whole build.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::build) struct BuildFacts {
    /// The escape character of the Dockerfile.
    pub escape: Escape,
    /// `--build-arg`s that have a value.
    pub build_args: BTreeMap<String, String>,
    /// ARGs before the first FROM, with their values, and the platform's.
    pub global_args: BTreeMap<String, String>,
    /// SOURCE_DATE_EPOCH: what the build makes is made then, and no file of it is younger.
    pub epoch: Option<Timestamp>,
    /// What names of the caller's stand for.
    pub contexts: ContextSpecs,
}

/// The build argument that makes a build reproducible (reproducible-builds.org).
pub(in crate::engine::build) const EPOCH: &str = "SOURCE_DATE_EPOCH";

impl BuildFacts {
    /// Reads SOURCE_DATE_EPOCH from the build arguments; an empty one counts as none.
    pub(in crate::engine::build) fn read_epoch(&mut self) -> Result<(), PlanError> {
        let Some(text) = self.build_args.get(EPOCH).filter(|text| !text.is_empty()) else { return Ok(()) };
        let second = text.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        let refused = || PlanError::new(format!("invalid {EPOCH}: {text:?} is no number of seconds since 1970"));
        self.epoch = Some(second.filter(|second| *second >= Timestamp::UNIX_EPOCH).ok_or_else(refused)?);
        Ok(())
    }

    /// The proxy settings among the build arguments.
    pub(in crate::engine::build) fn proxies(&self) -> impl Iterator<Item = (&String, &String)> {
        self.build_args.iter().filter(|(name, _)| PROXY_ARGS.contains(&name.as_str()))
    }

    /// Takes in an ARG that stands before the first FROM.
    pub(in crate::engine::build) fn declare_global(&mut self, instruction: &Instruction) -> Result<(), PlanError> {
        let Body::Arg(declarations) = &instruction.body else { return Ok(()) };
        for declaration in declarations {
            let value = match (self.build_args.get(&declaration.name), &declaration.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(expanded(default, &self.global_args, self.escape)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.global_args.insert(declaration.name.clone(), value);
            }
        }
        Ok(())
    }
}
