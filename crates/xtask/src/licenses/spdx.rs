//! Licence expressions: `MIT OR Apache-2.0`, `(MIT OR Apache-2.0) AND Unicode-3.0`, and the old `MIT/Apache-2.0`.

/// Parentheses nested deeper than this are refused, so that the reader below cannot be driven into the stack's end.
const DEPTH_MAX: usize = 16;

/// Whether a licence expression can be met with accepted licences only.
pub(crate) fn is_satisfied(expression: &str, accepts: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, accepts };
    let satisfied = reader.any_of(0)?;
    match reader.words.first() {
        None => Ok(satisfied),
        Some(word) => Err(format!("`{word}` is not expected there")),
    }
}

/// Reads words from the front; `AND` binds tighter than `OR`.
struct Reader<'words> {
    words: &'words [&'words str],
    accepts: &'words dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn any_of(&mut self, depth: usize) -> Result<bool, String> {
        let mut satisfied = self.all_of(depth)?;
        while self.take("OR") {
            satisfied |= self.all_of(depth)?;
        }
        Ok(satisfied)
    }

    fn all_of(&mut self, depth: usize) -> Result<bool, String> {
        let mut satisfied = self.one(depth)?;
        while self.take("AND") {
            satisfied &= self.one(depth)?;
        }
        Ok(satisfied)
    }

    fn one(&mut self, depth: usize) -> Result<bool, String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} parentheses"));
        }
        if self.take("(") {
            let satisfied = self.any_of(depth + 1)?;
            return if self.take(")") {
                Ok(satisfied)
            } else {
                Err("a parenthesis is not closed".to_owned())
            };
        }
        let license = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Ok((self.accepts)(&format!("{license} WITH {exception}")));
        }
        Ok((self.accepts)(&license))
    }

    fn name(&mut self) -> Result<String, String> {
        match self.words.split_first() {
            Some((word, rest)) if !["AND", "OR", "WITH", "(", ")"].contains(word) => {
                self.words = rest;
                Ok((*word).to_owned())
            }
            Some((word, _)) => Err(format!("`{word}` where a licence is expected")),
            None => Err("it ends where a licence is expected".to_owned()),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_reads_them() {
        let accepted = ["MIT", "Apache-2.0", "GPL-2.0 WITH Classpath-exception-2.0"];
        let cases = [
            ("MIT", Ok(true)),
            ("GPL-3.0-only", Ok(false)),
            ("GPL-3.0-only OR MIT", Ok(true)),
            ("GPL-3.0-only AND MIT", Ok(false)),
            ("MIT AND Apache-2.0 OR GPL-3.0-only", Ok(true)),
            ("GPL-3.0-only OR MIT AND BSD-3-Clause", Ok(false)),
            ("(GPL-3.0-only OR MIT) AND Apache-2.0", Ok(true)),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Ok(false)),
            ("MIT/GPL-3.0-only", Ok(true)),
            ("GPL-2.0 WITH Classpath-exception-2.0", Ok(true)),
            ("MIT WITH Classpath-exception-2.0", Ok(false)),
            ("", Err(())),
            ("MIT OR", Err(())),
            ("(MIT", Err(())),
            ("MIT)", Err(())),
            ("MIT MIT", Err(())),
            ("OR MIT", Err(())),
        ];
        for (expression, expected) in cases {
            let result = is_satisfied(expression, &|license| accepted.contains(&license)).map_err(|_| ());
            assert_eq!(result, expected, "{expression}");
        }
        let deep = "(".repeat(10_000) + "MIT";
        assert!(is_satisfied(&deep, &|_| true).is_err());
    }
}
