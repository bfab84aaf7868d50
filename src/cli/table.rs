//! Lists: aligned columns, IDs alone, JSON lines, or a template of fields, as docker's `--format` has it.
//!
//! Of Go's template language it knows what people put into scripts: `{{.Field}}`, `{{json .}}`, `{{json .Field}}`, `\t`, `\n`, and
//! `table` in front for headings.

use std::fmt::Write as _;

use serde_json::Value;

/// Least width of a column and the blank between two, as docker's tabwriter has them.
const LEAST_WIDTH: usize = 10;
const BLANK: usize = 3;

/// A column: the name it has in templates and its heading.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The name in templates and JSON.
    pub field: &'static str,
    /// The heading.
    pub heading: &'static str,
}

/// Shorthand for a [`Column`].
pub const fn column(field: &'static str, heading: &'static str) -> Column {
    Column { field, heading }
}

/// Rows of text under columns.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// How to print a table.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Format {
    /// Print only IDs or names
    #[arg(short, long)]
    pub quiet: bool,
    /// Print 'json', or a template such as '{{.ID}} {{.Names}}' or 'table {{.Names}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a text for each column.
    pub fn row(&mut self, texts: Vec<String>) {
        self.rows.push(texts);
    }

    /// The table as text. `key` is the column that is printed alone where only IDs are wanted.
    ///
    /// # Errors
    /// A template that names no column.
    pub fn render(&self, format: &Format, key: &str) -> Result<String, String> {
        match format.format.as_deref() {
            _ if format.quiet => self.template(&format!("{{{{.{key}}}}}")),
            None | Some("" | "table") => {
                Ok(self.aligned(&self.columns.iter().map(|column| column.heading).collect::<Vec<_>>(), &self.rows))
            }
            Some("json") => self.template("{{json .}}"),
            Some(template) => match template.strip_prefix("table ") {
                Some(template) => self.aligned_template(template),
                None => self.template(template),
            },
        }
    }

    fn aligned(&self, headings: &[&str], rows: &[Vec<String>]) -> String {
        let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
        let width = |index: usize| {
            let cells = rows.iter().chain([&headings]).filter_map(|row| row.get(index));
            cells.map(|cell| cell.chars().count() + BLANK).max().unwrap_or_default().max(LEAST_WIDTH)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let mut text = String::new();
        for row in [&headings].into_iter().chain(rows) {
            for (index, cell) in row.iter().enumerate() {
                match widths.get(index).filter(|_| index + 1 < row.len()) {
                    Some(width) => drop(write!(text, "{cell:width$}")),
                    None => text.push_str(cell),
                }
            }
            text.push('\n');
        }
        text
    }

    fn aligned_template(&self, template: &str) -> Result<String, String> {
        let cells = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let headings = fill(template, &|field| {
            Some(Value::from(self.columns.iter().find(|column| column.field == field)?.heading))
        })?;
        let rows = self.rows.iter().map(|row| fill(template, &|field| self.value(row, field)).map(cells));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let headings = cells(headings);
        Ok(self.aligned(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows))
    }

    fn template(&self, template: &str) -> Result<String, String> {
        let lines = self.rows.iter().map(|row| fill(template, &|field| self.value(row, field)).map(|line| line + "\n"));
        lines.collect()
    }

    fn value(&self, row: &[String], field: &str) -> Option<Value> {
        if field.is_empty() {
            let fields = self
                .columns
                .iter()
                .zip(row)
                .map(|(column, text)| (column.field.to_owned(), Value::from(text.as_str())));
            return Some(Value::Object(fields.collect()));
        }
        let index = self.columns.iter().position(|column| column.field == field)?;
        row.get(index).map(|text| Value::from(text.as_str()))
    }
}

/// Fills `{{.a.b}}` and `{{json .}}` of a template; `value` knows the fields, a path with dots; the empty one is all.
///
/// # Errors
/// What in the template can't be understood.
pub fn fill(template: &str, value: &dyn Fn(&str) -> Option<Value>) -> Result<String, String> {
    let mut rest = template;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(&unescape(before));
        let (inside, behind) =
            after.split_once("}}").ok_or_else(|| format!("template: {template:?}: }}}} is missing"))?;
        let inside = inside.trim();
        let (is_json, path) = match inside.strip_prefix("json ") {
            Some(path) => (true, path.trim()),
            None => (false, inside),
        };
        let field = path
            .strip_prefix('.')
            .ok_or_else(|| format!("template: {inside:?}: only .Field and json .Field are known"))?;
        let found = value(field).ok_or_else(|| format!("template: no field {field:?}"))?;
        match found {
            Value::String(plain) if !is_json => text.push_str(&plain),
            Value::Null if !is_json => text.push_str("<no value>"),
            other => text.push_str(&other.to_string()),
        }
        rest = behind;
    }
    text.push_str(&unescape(rest));
    Ok(text)
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[column("ID", "CONTAINER ID"), column("Names", "NAMES")]);
        table.row(vec!["0123456789ab".to_owned(), "web".to_owned()]);
        table
    }

    fn check(quiet: bool, format: Option<&str>, expected: &str) {
        let format = Format { quiet, format: format.map(str::to_owned) };
        assert_eq!(table().render(&format, "ID").unwrap(), expected);
    }

    #[test]
    fn columns_are_aligned_as_dockers() {
        check(false, None, "CONTAINER ID   NAMES\n0123456789ab   web\n");
    }

    #[test]
    fn ids_json_and_templates() {
        check(true, None, "0123456789ab\n");
        check(false, Some("json"), "{\"ID\":\"0123456789ab\",\"Names\":\"web\"}\n");
        check(false, Some("{{.Names}}\\t{{.ID}}"), "web\t0123456789ab\n");
        check(false, Some("table {{.Names}}\\t{{.ID}}"), "NAMES     CONTAINER ID\nweb       0123456789ab\n");
        let format = Format { quiet: false, format: Some("{{.Colour}}".to_owned()) };
        assert_eq!(table().render(&format, "ID").unwrap_err(), "template: no field \"Colour\"");
    }
}
