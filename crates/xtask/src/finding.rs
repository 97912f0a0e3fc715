//! What a check says: a place, and a sentence that says what to do there.

use std::fmt;

/// One thing a check noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    severity: Severity,
    place: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Finding {
    /// Something that must change before the work is done.
    pub(crate) fn error(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.into(), message: message.into() }
    }

    /// Something worth knowing that fails nothing.
    pub(crate) fn warning(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place: place.into(), message: message.into() }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{word}: {}: {}", self.place, self.message)
    }
}

/// For tests: a check that must be clean prints what it found.
#[cfg(test)]
pub(crate) fn assert_no_errors(findings: &[Finding]) {
    let errors: Vec<String> =
        findings.iter().filter(|finding| finding.is_error()).map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// For tests: a planted violation must be found, and the sentence must name it.
#[cfg(test)]
pub(crate) fn assert_caught(case: &str, findings: &[Finding], fragment: &str) {
    let caught = findings.iter().any(|finding| finding.is_error() && finding.to_string().contains(fragment));
    assert!(caught, "{case}: nothing says {fragment:?} in {findings:?}");
}
