//! `build`: a Dockerfile and its files become an image, or whatever else is asked for.
//!
//! `flags` is what can be typed, `context` where the files come from, `ask` the request, `progress` how it is shown while
//! it runs, `session` what it may ask us for
//! meanwhile, `report` what is said in the end. A host that is not Boxyard's engine is asked in the classic way (`classic`).

mod ask;
mod call;
mod check;
mod classic;
mod context;
mod explain;
mod flags;
mod folders;
mod outline;
mod output;
mod progress;
mod report;
mod session;
mod sink;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Map, Value};

use self::call::Method;
use self::context::{Context, Text};
pub use self::flags::Build;
use self::output::Outputs;
use self::progress::Display;
use super::images::all_credentials;
use crate::buildkit::{TRACE_ID, decode_aux};
use crate::client::build_session::Provide;
use crate::client::{BuildRecord, BuildSource, Docker};

/// How often a display is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// The exit code of a program that SIGINT ends, and so docker's.
const INTERRUPTED: u8 = 130;
/// The records of our own engine: the place of a failure, and what was made.
const SOURCE_ID: &str = "boxyard.build.source";
const RESULT_ID: &str = "boxyard.build.result";
/// What of the result names an image.
const CONFIG_DIGEST: &str = "containerimage.config.digest";

/// What a build came to.
enum Ended {
    /// It made what was wanted: this, as buildx's metadata file has it.
    Built(Map<String, Value>),
    /// It failed.
    Failed { message: String, source: Option<BuildSource> },
    /// A person broke it off.
    Interrupted,
}

/// Builds.
///
/// # Errors
/// What is asked for in a way that can't be, and what can't be reached. A build that fails says so itself.
pub async fn build(docker: &Docker, flags: &Build) -> anyhow::Result<ExitCode> {
    flags.refuse_unsupported()?;
    let mut providers = session::providers(flags)?;
    let context = Context::find(&flags.path, flags.file.as_deref())?;
    let text = context.text()?;
    if flags.check || flags.call.method != Method::Build {
        return check::answer(flags, &context, text.as_ref());
    }
    let mut display = Display::new(flags.progress, flags.quiet)?;
    let outputs = Outputs::parse(&flags.output, flags.push, flags.load, output::prints_to_terminal())?;
    flags.refuse_without_place(&outputs)?;
    // One of an earlier build must not be taken for this one's.
    for old in [&flags.iidfile, &flags.metadata_file].into_iter().flatten() {
        sink::clear(old);
    }
    let mut call = ask::ask(flags, &outputs)?;
    call.credentials(all_credentials());
    // Only Boxyard's engine has sessions, and tells BuildKit's messages without one of BuildKit's.
    if docker.yard().await.is_err() {
        if context.needs_our_engine() {
            anyhow::bail!(
                "-f {}: this host's builder takes no Dockerfile beside a URL; name one in it",
                text_name(text.as_ref())
            );
        }
        context.attach(&mut call, text.as_ref()).await?;
        return classic::build(docker, flags, call).await;
    }
    folders::provide(&context, &flags.build_context, text.as_ref(), &mut call, &mut providers).await?;
    call.add("version", "2");
    let sinks = outputs.sinks.into_iter().map(|(name, sink)| (name, Box::new(sink) as Box<dyn Provide>));
    providers.outputs.extend(sinks);
    // Open until the build has ended.
    let session = session::open(docker, providers).await?;
    call.add("session", session.as_ref().map(|session| session.id()).unwrap_or_default());
    let ended = follow(docker.build(call), &mut display).await;
    // Nobody reads standard error: nobody misses the rest.
    let _ = display.finish();
    tell_end(flags, &display, text.as_ref(), ended?)
}

fn text_name(text: Option<&Text>) -> &str {
    text.map(|text| text.name.as_str()).unwrap_or_default()
}

/// Shows the build's messages until it ends. Dropping the stream, as after Ctrl-C, cancels the build.
async fn follow(
    records: impl futures_util::Stream<Item = Result<BuildRecord, crate::client::Error>>,
    display: &mut Display,
) -> anyhow::Result<Ended> {
    let mut records = pin!(records);
    let mut result = Map::new();
    let mut source = None;
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        let record = tokio::select! {
            record = records.next() => record,
            _ = frames.tick() => {
                display.tick()?;
                continue;
            }
            _ = interrupt.recv() => return Ok(Ended::Interrupted),
            _ = terminate.recv() => return Ok(Ended::Interrupted),
        };
        let record = match record {
            None => return Ok(Ended::Built(result)),
            Some(Ok(record)) => record,
            Some(Err(crate::client::Error::DockerResponseServerError { message, .. })) => {
                return Ok(Ended::Failed { message, source: None });
            }
            Some(Err(error)) => return Err(error.into()),
        };
        if let Some(message) = record.failure() {
            return Ok(Ended::Failed { message: message.to_owned(), source });
        }
        match (record.id.as_deref(), record.aux) {
            (Some(TRACE_ID), Some(Value::String(aux))) => display.update(decode_aux(&aux)?)?,
            (Some(SOURCE_ID), Some(aux)) => source = serde_json::from_value(aux).ok(),
            (Some(RESULT_ID), Some(Value::Object(made))) => result = made,
            _ => {}
        }
    }
}

fn tell_end(flags: &Build, display: &Display, text: Option<&Text>, ended: Ended) -> anyhow::Result<ExitCode> {
    if flags.explain {
        // Standard output is the ID's alone where that was asked for.
        match flags.quiet {
            true => eprint!("{}", display.explanation.table()),
            false => print!("{}", display.explanation.table()),
        }
    }
    match ended {
        Ended::Built(result) => {
            if display.is_for_people() {
                eprint!("{}", report::warnings(&display.steps.warnings));
            }
            let image = result.get(CONFIG_DIGEST).and_then(Value::as_str);
            if let (Some(file), Some(image)) = (&flags.iidfile, image) {
                sink::write_whole(file, image.as_bytes())?;
            }
            if let Some(file) = &flags.metadata_file {
                sink::write_whole(file, serde_json::to_string_pretty(&result)?.as_bytes())?;
            }
            if let (true, Some(image)) = (flags.quiet, image) {
                println!("{image}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Ended::Failed { message, source } => {
            let source = source.or_else(|| {
                let text = text?;
                Some(report::source(&text.name, &text.text, display.steps.failed()?.vertex.lines?))
            });
            if display.is_for_people() {
                eprint!("{}", report::warnings(&display.steps.warnings));
            }
            eprint!("{}", report::failure(&display.steps, source.as_ref(), &message));
            Ok(ExitCode::FAILURE)
        }
        Ended::Interrupted => {
            eprintln!("ERROR: the build was cancelled");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}
