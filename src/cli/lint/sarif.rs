//! Findings as SARIF 2.1.0, which code scanning services read.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::Checked;
use super::place::Places;
use crate::dockerfile::{Diagnostic, Rule, Severity, Span, Tier, rules};

/// What a path in a URI must not hold as it is.
const IN_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// The log of one run over all files.
pub(super) fn log(checked: &[Checked]) -> Value {
    let results: Vec<Value> = checked.iter().flat_map(results).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "boxyard lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules().map(described).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn described(rule: &Rule) -> Value {
    let level = if rule.tier == Tier::Advice { "note" } else { "warning" };
    let mut described = json!({
        "id": rule.name,
        "shortDescription": { "text": rule.description },
        "fullDescription": { "text": rule.explanation },
        "help": { "text": rule.explanation },
        "defaultConfiguration": { "level": level, "enabled": rule.tier != Tier::Experimental },
    });
    if let Some(url) = rule.url {
        described["helpUri"] = url.into();
    }
    described
}

fn results(file: &Checked) -> Vec<Value> {
    let places = Places::new(&file.text);
    let name = if file.name == "-" { "Dockerfile" } else { file.name.as_str() };
    let uri = utf8_percent_encode(name.strip_prefix("./").unwrap_or(name), IN_PATH).to_string();
    let uri = if uri.starts_with('/') { format!("file://{uri}") } else { uri };
    file.findings.iter().map(|found| result(found, &places, &uri, &file.text)).collect()
}

fn result(found: &Diagnostic, places: &Places<'_>, uri: &str, text: &str) -> Value {
    let level = match found.severity {
        Severity::Advice => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut result = json!({
        "ruleId": found.code,
        "level": level,
        "message": { "text": found.sentence() },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri },
            "region": region(places, found.span),
        }}],
    });
    if let Some(index) = rules().position(|rule| rule.name == found.code) {
        result["ruleIndex"] = index.into();
    }
    if let Some(suggestion) = &found.suggestion {
        result["fixes"] = json!([{
            "description": { "text": suggestion.told(text) },
            "artifactChanges": [{
                "artifactLocation": { "uri": uri },
                "replacements": [{
                    "deletedRegion": region(places, suggestion.span),
                    "insertedContent": { "text": suggestion.replacement },
                }],
            }],
        }]);
    }
    result
}

fn region(places: &Places<'_>, span: Span) -> Value {
    let ((line, column), (end_line, end_column)) = places.range(span);
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

#[cfg(test)]
mod tests {
    use super::super::checked;
    use super::*;

    #[test]
    fn a_log_names_rule_place_and_fix() {
        let log = log(&[checked("my app/Dockerfile", "FROM alpine:3.20 AS B\nFORM x\n")]);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let [name, unknown] = run["results"].as_array().unwrap().as_slice() else { panic!("{run}") };
        let index = usize::try_from(name["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], name["ruleId"]);
        let place = &name["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "my%20app/Dockerfile");
        assert_eq!(place["region"], json!({ "startLine": 1, "startColumn": 21, "endLine": 1, "endColumn": 22 }));
        let replacement = &name["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(replacement["insertedContent"]["text"], "b");
        assert_eq!((&unknown["level"], &unknown["ruleIndex"]), (&json!("error"), &Value::Null));
    }
}
