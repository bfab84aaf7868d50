//! The compatibility page, written from the endpoint table, the field table, and what the comparison of builds taught.

use std::fmt::Write as _;

use super::endpoint::Endpoint;
use super::table::ENDPOINTS;
use super::version::{NEWEST, OLDEST};
use crate::engine::oci::fields::{FIELDS, Part, Standing};

/// `docs/compatibility.md` as it must read.
pub fn page() -> String {
    let mut page = format!(
        "# Docker Engine API: what Boxyard answers\n\n\
         Written from the endpoint table (`src/api/table.rs`); a test compares. Boxyard speaks API versions {OLDEST} to \
         {NEWEST}; a path\nwithout a version means {NEWEST}. Texts and statuses are Docker's own; the last column says where an \
         answer differs.\n"
    );
    let mut group = None;
    for row in ENDPOINTS {
        let here = group_of(row);
        if group != Some(here) {
            let _ = write!(page, "\n## {here}\n\n| method | path | since | differs |\n| --- | --- | --- | --- |\n");
            group = Some(here);
        }
        let path = row.path.replace("...", "");
        let note =
            if row.note.is_empty() && here == SWARM { "503, as an engine outside of any swarm" } else { row.note };
        let _ = writeln!(page, "| {} | `{path}` | {} | {note} |", row.method, row.since);
    }
    page.push_str(&create_fields());
    page.push_str(CACHES);
    page.push_str(include_str!("builds.md"));
    page
}

/// What becomes of each field of a creation request.
fn create_fields() -> String {
    let mut text = "\n# Options of a container\n\n\
                    Written from the field table (`src/engine/oci/fields.rs`): every field of `POST \
                    /containers/create`. A field that is\nnot in it is named in the answer's warnings.\n"
        .to_owned();
    for part in Part::ALL {
        let _ = write!(text, "\n## {}\n\n| field | standing | note |\n| --- | --- | --- |\n", part.name());
        for row in FIELDS.iter().filter(|row| row.part == part) {
            let standing = match row.standing {
                Standing::Works => "works",
                Standing::WithoutEffect => "accepted, without effect here",
                Standing::Refused { .. } => "refused by name",
            };
            let _ = writeln!(text, "| `{}` | {standing} | {} |", row.name, row.note);
        }
    }
    text
}

/// What becomes of build caches that come from elsewhere or go there.
const CACHES: &str = "\n# Build caches that travel\n\n\
    | `--cache-from`, `--cache-to` | standing |\n| --- | --- |\n\
    | `type=registry,ref=IMAGE[,mode=min\\|max]` | works, with any registry; a document of our own \
      (`application/vnd.boxyard.build.cache.v1+json`) and the layers it names, as an OCI manifest |\n\
    | `type=inline`, `BUILDKIT_INLINE_CACHE=1` | works; the document stands in the image's configuration as \
      `boxyard.build.cache.v1` |\n\
    | `type=local,src=DIR`, `type=local,dest=DIR` | works with `boxyard build`, as an OCI layout; docker's classic client can't \
      send folders |\n\
    | an image's name, as docker's classic builder takes it | works: records that it carries, else RUN steps by its history, on \
      the very same layers |\n\
    | `type=gha`, `type=s3`, `type=azblob` | refused by name |\n\n\
    With BuildKit images are exchanged, not caches: its cache documents (`moby.buildkit.cache.v0`,\n\
    `application/vnd.buildkit.cacheconfig.v0`) are neither read nor written, as their keys name BuildKit's own operations. An image \
    that\nBuildKit built is read by its history. `mode=min` takes the steps of the result's own layers; steps of other stages run \
    again.\nA cache that can't be reached is a warning. `SOURCE_DATE_EPOCH` dates image, history and, as BuildKit's \
    `rewrite-timestamp`, files.\n";

const SWARM: &str = "Swarm";

fn group_of(row: &Endpoint) -> &'static str {
    match row.path.split('/').nth(1).unwrap_or_default() {
        "containers" | "commit" => "Containers",
        "exec" => "Exec",
        "images" | "distribution" => "Images",
        "build" | "session" | "grpc" => "Build",
        "networks" => "Networks",
        "volumes" => "Volumes",
        "plugins" => "Plugins",
        "swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs" => SWARM,
        "_boxyard" | "boxyard" => "Boxyard's own",
        _ => "System",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a change of the table: `BOXYARD_WRITE_DOCS=1 cargo test --lib api::compatibility` writes the page anew.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
        if std::env::var_os("BOXYARD_WRITE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page(), "docs/compatibility.md is not what the table says; BOXYARD_WRITE_DOCS=1 writes it");
    }
}
