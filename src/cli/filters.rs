//! `--filter name=value`, gathered as the API takes it.

use std::collections::HashMap;

use clap::Args;

/// Filters of a list or prune.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterFlags {
    /// Only what matches, like label=tier=web or status=exited (may be repeated)
    #[arg(short, long = "filter", value_name = "NAME=VALUE", value_parser = pair)]
    filters: Vec<(String, String)>,
}

impl FilterFlags {
    /// The filters, `None` where there is none.
    pub fn gathered(&self) -> Option<HashMap<String, Vec<String>>> {
        let mut gathered: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in &self.filters {
            gathered.entry(name.clone()).or_default().push(value.clone());
        }
        (!gathered.is_empty()).then_some(gathered)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("filters are written NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
