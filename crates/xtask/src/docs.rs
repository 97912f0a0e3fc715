//! Links in Markdown: every link to a file of the repository leads to a file, and to a heading that is there.

use crate::finding::Finding;
use crate::workspace::{self, TextFile};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn check_repository() -> anyhow::Result<Vec<Finding>> {
    let root = workspace::root()?;
    Ok(check(&workspace::text_files()?, &|path| root.join(path).exists()))
}

fn check(files: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let documents: BTreeMap<&str, &str> = files
        .iter()
        .filter(|file| file.extension() == "md")
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in &documents {
        for (line, target) in links(text) {
            let place = format!("{path}:{line}");
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let Some(file) = resolve(path, file) else {
                findings.push(Finding::error(place, format!("`{target}` leads out of the repository")));
                continue;
            };
            if !exists(&file) {
                findings.push(Finding::error(place, format!("`{target}` leads nowhere: there is no {file}")));
            } else if let (false, Some(text)) = (anchor.is_empty(), documents.get(file.as_str()))
                && !headings(text).contains(anchor)
            {
                findings.push(Finding::error(place, format!("`{target}`: {file} has no heading #{anchor}")));
            }
        }
    }
    findings
}

/// Local link targets with their lines: `[text](target)`, `![text](target "title")` and `[name]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, content) in prose(text) {
        let inline =
            content.match_indices("](").filter_map(|(at, _)| content.get(at + 2..)?.split(')').next());
        let reference =
            content.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in inline.chain(reference) {
            let target = target.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>']);
            if !target.is_empty() && !is_elsewhere(target) {
                found.push((line, target.to_owned()));
            }
        }
    }
    found
}

/// Lines outside fenced blocks, counted from one, with inline code blanked: an example of a link is not a link.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let plain: String = line.split('`').step_by(2).collect::<Vec<&str>>().join("`");
            lines.push((index + 1, plain));
        }
    }
    lines
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// A target seen from the document it stands in, as a path from the root; nothing if it climbs out.
fn resolve(document: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(document.to_owned());
    }
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The names that headings get as anchors: lower case, spaces to dashes, other signs dropped.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        found.insert(kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{assert_caught, assert_no_errors};

    #[test]
    fn every_link_of_the_repository_leads_somewhere() {
        assert_no_errors(&check_repository().unwrap());
    }

    fn check_text(text: &str) -> Vec<Finding> {
        let files =
            [TextFile::new("docs/a.md", text), TextFile::new("README.md", "# The five-minute tour\n")];
        check(&files, &|path| ["docs/a.md", "README.md", "docs", "crates/model/src/lib.rs"].contains(&path))
    }

    #[test]
    fn planted_links_are_caught() {
        let cases = [
            ("see [it](missing.md)", "no docs/missing.md"),
            ("one\n[it](../crates/model/src/gone.rs \"title\")", "docs/a.md:2"),
            ("![picture](<picture.svg>)", "no docs/picture.svg"),
            ("[it]: missing.md", "no docs/missing.md"),
            ("[a](../README.md) [b](b.md)", "no docs/b.md"),
            ("[it](../../other/README.md)", "out of the repository"),
            ("[it](../README.md#no-such-heading)", "no heading #no-such-heading"),
            ("[it](#no-such-heading)", "no heading"),
        ];
        for (text, fragment) in cases {
            assert_caught(text, &check_text(text), fragment);
        }
    }

    #[test]
    fn good_links_and_examples_pass() {
        let cases = [
            "[it](../README.md), [and](../README.md#the-five-minute-tour)",
            "[it](/crates/model/src/lib.rs) [folder](../docs)",
            "[out](https://example.org/missing.md) [mail](mailto:a@example.org)",
            "# Here `it` is: really\n[it](#here-it-is-really)",
            "`[it](missing.md)`",
            "```\n[it](missing.md)\n```",
        ];
        for text in cases {
            assert_eq!(check_text(text), [], "{text}");
        }
    }
}
