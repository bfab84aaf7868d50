//! What a Dockerfile and a request come to: read, checked and decided before anything is done.

use super::announce::{Internal, size};
use super::args;
use super::base;
use super::context::Context;
use super::excerpt::Source;
use super::exchange::Told;
use super::graph::Graph;
use super::plan::{BuildFacts, PlanError, expanded};
use super::platform::{Emulators, Platforms};
use super::progress::BuildFailure;
use super::request::BuildRequest;
use super::source::ContextSpecs;
use super::teller::Teller;
use crate::dockerfile::ignore::IgnoreRules;
use crate::dockerfile::{Dockerfile, Parsed, Surroundings, parse};
use crate::engine::EngineError;
use crate::engine::image::Images;

/// What is built.
pub(super) struct Decided {
    /// The parsed Dockerfile.
    pub file: Dockerfile,
    /// The platforms it is built on and for.
    pub platforms: Platforms,
    /// Arguments and the escape character.
    pub facts: BuildFacts,
    /// The stages that are needed.
    pub graph: Graph,
    /// Build arguments that the Dockerfile has no use for.
    pub unused: Vec<String>,
}

impl Decided {
    /// Reads the Dockerfile of `context` and what is to be ignored of it, told as a step of its own, and refuses what can't
    /// be built or what the Dockerfile's own checks forbid.
    pub(super) fn read(
        context: &Context,
        request: &BuildRequest,
        images: &Images,
        told: &Told<'_>,
    ) -> Result<Self, BuildFailure> {
        let called = request.dockerfile_name();
        let name = format!("[internal] load build definition from {called}");
        let reading = Internal::begin(told.teller, told.id, "definition", name);
        let decided = definition(context, request, &called, told.teller, &reading).and_then(|mut read| {
            let decided = decide(&mut read, request, images);
            reading.warnings(&read.parsed);
            if let (Err(failure), Some(_)) = (&decided, read.parsed.lint_violation()) {
                told.teller.blame(read.parsed.warnings().next().map(|found| found.lines), failure);
            }
            for name in request.no_cache_filter.iter().filter(|name| !has_stage(&read.parsed.file, name)) {
                reading.warn(format!("no stage is called {name}, so --no-cache-filter={name} changes nothing"));
            }
            let (platforms, facts, graph) = decided?;
            let unused = args::unused(&read.parsed, &request.build_args);
            if !unused.is_empty() {
                reading.warn(format!("One or more build-args [{}] were not consumed", unused.join(" ")));
            }
            Ok(Self { file: read.parsed.file, platforms, facts, graph, unused })
        });
        reading.end(decided)
    }
}

/// Whether a stage has the name or number.
fn has_stage(file: &Dockerfile, name: &str) -> bool {
    file.stages.iter().any(|stage| {
        stage.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name)) || stage.index.to_string() == *name
    })
}

/// A Dockerfile without syntax errors.
struct Definition {
    text: String,
    parsed: Parsed,
    ignore: IgnoreRules,
}

/// Reads the Dockerfile and what is to be ignored.
fn definition(
    context: &Context,
    request: &BuildRequest,
    called: &str,
    teller: &Teller,
    reading: &Internal,
) -> Result<Definition, BuildFailure> {
    let text = match &request.text {
        Some(text) if text.trim_ascii().is_empty() => {
            return Err(EngineError::invalid(format!("the Dockerfile ({called}) cannot be empty")).into());
        }
        Some(text) => text.clone(),
        None => context.dockerfile(&request.dockerfile, called)?,
    };
    reading.part(format!("transferring dockerfile: {}", size(text.len() as u64)), reading.started());
    teller.read(Source { file: called.to_owned(), text: text.clone() });
    let parsed = parse(&text);
    if let Some(error) = parsed.first_error() {
        let failure = BuildFailure::from(EngineError::invalid(error.parse_error()));
        teller.blame(Some(error.lines), &failure);
        return Err(failure);
    }
    let ignore = context.apply_ignore_rules(&request.dockerfile)?;
    Ok(Definition { text, parsed, ignore })
}

/// Finds out what is to be built.
fn decide(
    read: &mut Definition,
    request: &BuildRequest,
    images: &Images,
) -> Result<(Platforms, BuildFacts, Graph), BuildFailure> {
    let Definition { text, parsed, ignore } = read;
    let emulators = Emulators::read();
    let platforms = Platforms::of(request.platform.as_deref().filter(|it| !it.is_empty()), &emulators)?;
    let mut facts = args::facts(parsed, &request.build_args, request.target.as_deref(), &platforms).map_err(invalid)?;
    facts.contexts = ContextSpecs::parse(&request.contexts).map_err(invalid)?;
    let local = |name: &str| images.find(&expanded(name, &facts.global_args, facts.escape).ok()?).ok();
    let platform_of = |name: &str| local(name).map(|image| base::platform_of(&image.config).to_string());
    let target = platforms.target.to_string();
    let platform_of = Some((target.as_str(), &platform_of as &dyn Fn(&str) -> Option<String>));
    let variables_of = |name: &str| {
        let env = local(name)?.config.config.env.unwrap_or_default();
        Some(env.iter().filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).collect())
    };
    let around = Surroundings { ignore: Some(ignore), platforms: platform_of, variables: Some(&variables_of) };
    parsed.look_around(text, &around);
    if let Some(violation) = parsed.lint_violation() {
        return Err(EngineError::invalid(violation).into());
    }
    let triggers = |name: &str| local(name).and_then(|image| image.config.config.on_build).unwrap_or_default();
    let graph = Graph::of(&parsed.file, request.target.as_deref(), &facts, &triggers).map_err(invalid)?;
    for platform in graph.nodes.iter().filter_map(|node| node.platform.as_deref()) {
        platforms.of_stage(platform, &emulators)?;
    }
    Ok((platforms, facts, graph))
}

fn invalid(error: PlanError) -> BuildFailure {
    EngineError::invalid(error.message).into()
}
