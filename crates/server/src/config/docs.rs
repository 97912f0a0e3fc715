//! The documentation of the keys, as Markdown.

use super::table::{KeyDoc, keys};
use std::fmt::Write as _;

/// `docs/config.md`. A test holds the file against this.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         One file, `throughline.toml`, in the working directory or named with `--config`. Every key can be left out.\n\
         A key is overridden by the environment variable beside it, and that by `--set section.key=value`. Unknown\n\
         keys are errors. `throughline config check` reads everything and says what holds.\n\n\
         Secrets are never values here: keys name the files that hold them. What changes while the server runs (write\n\
         keys, tokens, rules of identity and suppression) is set through the admin API and kept in the log.\n\n\
         This page is written by `throughline config docs`.\n",
    );
    let mut section = "";
    for key in keys() {
        if key.section != section {
            section = key.section;
            let _ = write!(out, "\n## [{section}]\n");
        }
        write_key(&mut out, &key);
    }
    out
}

fn write_key(out: &mut String, key: &KeyDoc) {
    let default = match key.default_text() {
        text if text.is_empty() => "unset".to_owned(),
        text => format!("`{text}`"),
    };
    let expects = match &key.range {
        Some(range) => format!("a whole number from {} to {}", range.start(), range.end()),
        None => key.expects.to_owned(),
    };
    let _ = write!(out, "\n### {}\n\n{}\n\n", key.name, key.about);
    let _ = writeln!(out, "- default: {default}\n- write: {expects}\n- variable: `{}`", key.variable());
}
