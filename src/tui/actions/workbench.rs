//! The build workbench's actions. Keys that are text are taken by the workbench itself before this table is asked.

use super::{Action, Scope, always};
use crate::tui::model::Model;
use crate::tui::workbench::{Cached, Command, Focus, Outcome, command};

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[
    row("workbench.build", &["f5", "ctrl-b"], "build", "Save it and build the image", has_document, |model| {
        command(model, Command::Build(Cached::Yes))
    }),
    row("workbench.run", &["f6"], "run", "Run the built image as a new container", is_built, |model| {
        command(model, Command::RunImage)
    }),
    row("workbench.save", &["ctrl-s"], "save", "Save the Dockerfile", has_document, |model| {
        command(model, Command::Save)
    }),
    row("workbench.cancel", &["ctrl-k"], "cancel", "Cancel the build that runs", is_building, |model| {
        command(model, Command::CancelBuild)
    }),
    row("workbench.open", &["ctrl-o"], "open", "Open another Dockerfile, or make one", always, |model| {
        command(model, Command::Open)
    }),
    row("workbench.pane-next", &["f3", "backtab"], "pane", "Go to the next pane", always, |model| {
        command(model, Command::NextPane)
    }),
    row("workbench.close", &["esc"], "back", "Go back to the lists; a running build goes on", always, |model| {
        command(model, Command::Leave)
    }),
    row("workbench.rebuild", &["f7"], "", "Build it again without the cache", has_document, |model| {
        command(model, Command::Build(Cached::No))
    }),
    row("workbench.tag", &["f2"], "", "Change the name of the image", has_document, |model| {
        command(model, Command::EditTag)
    }),
    row("workbench.problem-next", &["f8"], "", "Go to the next problem", has_problems, |model| {
        command(model, Command::NextProblem)
    }),
    row("workbench.problem-previous", &["shift-f8"], "", "Go to the problem before", has_problems, |model| {
        command(model, Command::PreviousProblem)
    }),
    row(
        "workbench.fix",
        &["f9"],
        "",
        "Apply the suggestion for this line, or for the selected problem",
        has_problems,
        |model| command(model, Command::ApplyFix),
    ),
    row("workbench.step", &["f4"], "", "Go from a line to its layer's output, or back", is_known, |model| {
        command(model, Command::GoToStep)
    }),
    row("workbench.editor", &["alt-1"], "", "Go to the text", always, |model| {
        command(model, Command::Pane(Focus::Editor))
    }),
    row("workbench.layers", &["alt-2"], "", "Go to the layers", is_known, |model| {
        command(model, Command::Pane(Focus::Steps))
    }),
    row("workbench.output", &["alt-3"], "", "Go to the output of the selected layer", is_known, |model| {
        command(model, Command::Pane(Focus::Log))
    }),
    row("workbench.problems", &["alt-4"], "", "Go to the list of problems", has_problems, |model| {
        command(model, Command::Pane(Focus::Problems))
    }),
    row("workbench.undo", &["ctrl-z"], "", "Take the last change back", has_document, |model| {
        command(model, Command::Undo)
    }),
    row("workbench.redo", &["ctrl-y"], "", "Make the change again that was taken back", has_document, |model| {
        command(model, Command::Redo)
    }),
];

const fn row(
    name: &'static str,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
    ready: fn(&Model) -> Result<(), String>,
    run: fn(&mut Model) -> Vec<crate::tui::effect::Effect>,
) -> Action {
    Action { name, scope: Scope::Workbench, keys, hint, help, ready, run }
}

fn refuse_unless(is_possible: bool, why: &str) -> Result<(), String> {
    if is_possible { Ok(()) } else { Err(why.to_owned()) }
}

fn has_document(model: &Model) -> Result<(), String> {
    refuse_unless(model.workbench.document().is_some(), "no Dockerfile is open")
}

fn is_building(model: &Model) -> Result<(), String> {
    refuse_unless(model.workbench.is_animated(), "no build is under way")
}

fn is_known(model: &Model) -> Result<(), String> {
    refuse_unless(model.workbench.build().is_some(), "nothing was built yet")
}

fn is_built(model: &Model) -> Result<(), String> {
    let is_built = model.workbench.build().is_some_and(|build| matches!(build.outcome, Outcome::Succeeded { .. }));
    refuse_unless(is_built, "nothing was built yet")
}

fn has_problems(model: &Model) -> Result<(), String> {
    let has = model.workbench.document().is_some_and(|document| !document.parsed().diagnostics.is_empty());
    refuse_unless(has, "there are no problems")
}
