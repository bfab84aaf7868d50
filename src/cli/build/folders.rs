//! The folders that an engine with a session asks for: the context, and those of `--build-context`.

use std::collections::BTreeMap;

use super::context::{Context, Text, named_folder};
use crate::client::BuildCall;
use crate::client::build_session::Providers;

/// What the session calls the build's own context.
const CONTEXT: &str = "context";

/// Puts the folders where the engine can ask for them, and the rest of what says what is built into the request.
///
/// # Errors
/// A folder that is none, a name without a value, ignore rules that make no sense.
pub async fn provide(
    context: &Context,
    named: &[String],
    text: Option<&Text>,
    call: &mut BuildCall,
    providers: &mut Providers,
) -> anyhow::Result<()> {
    match context.synced(text)? {
        None => context.attach(call, text).await?,
        Some((folder, dockerfile)) => {
            providers.contexts.insert(CONTEXT.to_owned(), Box::new(folder));
            if let Some(text) = text.filter(|text| text.name != dockerfile) {
                call.add("dockerfilename", text.name.as_str());
            }
            call.add("remote", "client-session").add("dockerfile", dockerfile);
        }
    }
    let mut contexts = BTreeMap::new();
    for given in named {
        let Some((name, value)) = given.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
        else {
            anyhow::bail!("--build-context {given}: NAME=PATH, NAME=docker-image://IMAGE or NAME=URL is wanted");
        };
        let what = if let Some(layout) = value.strip_prefix("oci-layout://") {
            let (path, image) = split_layout(layout);
            let key = format!("layout-{name}");
            providers.contexts.insert(key.clone(), Box::new(named_folder(name, path)?));
            format!("oci-layout://{key}{image}")
        } else if is_elsewhere(value) {
            value.to_owned()
        } else {
            let key = format!("folder-{name}");
            providers.contexts.insert(key.clone(), Box::new(named_folder(name, value)?));
            format!("local:{key}")
        };
        contexts.insert(name.to_owned(), what);
    }
    if !contexts.is_empty() {
        call.json("contexts", &contexts);
    }
    Ok(())
}

/// The path, and `@DIGEST` or `:TAG` behind it.
fn split_layout(layout: &str) -> (&str, &str) {
    let last = layout.rfind('/').map_or(0, |at| at + 1);
    let end = layout.find('@').or_else(|| layout.get(last..)?.find(':').map(|at| at + last)).unwrap_or(layout.len());
    layout.split_at(end)
}

/// Whether the engine fetches it by itself.
fn is_elsewhere(value: &str) -> bool {
    let schemes = ["docker-image://", "http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    schemes.iter().any(|scheme| value.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::super::context::Dockerfile;
    use super::*;

    #[test]
    fn layouts_are_split_from_their_images() {
        assert_eq!(split_layout("/a/b"), ("/a/b", ""));
        assert_eq!(split_layout("/a:1/b:v1"), ("/a:1/b", ":v1"));
        assert_eq!(split_layout("b@sha256:ab"), ("b", "@sha256:ab"));
    }

    #[tokio::test]
    async fn contexts_are_folders_unless_they_look_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let context =
            Context::Remote { url: "https://h/x".into(), dockerfile: Dockerfile::Inside("Dockerfile".into()) };
        let provided = async |named: &[String]| {
            let (mut call, mut providers) = (BuildCall::default(), Providers::default());
            provide(&context, named, None, &mut call, &mut providers).await.map_err(|error| error.to_string())?;
            let mut names: Vec<String> = providers.contexts.into_keys().collect();
            names.sort();
            Ok::<_, String>(names)
        };
        let named = [format!("a={path}"), format!("b=oci-layout://{path}:v1"), "c=docker-image://x".to_owned()];
        assert_eq!(provided(&named).await.unwrap(), ["folder-a", "layout-b"]);
        assert!(provided(&["a".to_owned()]).await.unwrap_err().starts_with("--build-context a: NAME=PATH"));
        assert!(provided(&["a=/nowhere/at/all".to_owned()]).await.unwrap_err().contains("/nowhere/at/all"));
    }
}
