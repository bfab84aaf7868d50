//! docs/keys.md, made from the table. A test compares; `BOXYARD_BLESS=1 cargo test keys_page` writes it anew.

use super::{Scope, all};

/// The page's whole text.
pub fn keys_page() -> String {
    let mut page = String::from(
        "# Keys\n\nGenerated from the actions table in `src/tui/actions/`; do not edit by hand. Every action also runs \
         from the palette (`:`) by\nits name, and its keys can be changed in the configuration under that name. On the \
         screen, `?` shows the same list,\nsearchable.\n",
    );
    for scope in Scope::ALL {
        let actions: Vec<_> = all().filter(|action| action.scope == scope).collect();
        if actions.is_empty() {
            continue;
        }
        page.push_str(&format!("\n## {}\n\n| keys | action | what it does |\n| --- | --- | --- |\n", scope.title()));
        for action in actions {
            let keys: Vec<String> = action.keys.iter().map(|key| format!("`{}`", key.replace('|', "\\|"))).collect();
            page.push_str(&format!("| {} | `{}` | {} |\n", keys.join(" "), action.name, action.help));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
        let page = super::keys_page();
        if std::env::var_os("BOXYARD_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == written, "docs/keys.md is stale: run BOXYARD_BLESS=1 cargo test keys_page");
    }
}
