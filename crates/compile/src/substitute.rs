//! Texts in the payload that stand for variables.

use std::io::{self, Read};

use aho_corasick::{AhoCorasick, MatchKind};
use model::{Extent, Template};
use package::Substitution;
use script::TextReplacement;

use crate::{CompileError, patterns::Patterns};

/// Bytes looked through at once.
const STEP: usize = 1 << 20;

/// The text replacements of a step.
pub(crate) struct Replacements<'s> {
    all: Vec<(Patterns, &'s TextReplacement)>,
}

impl<'s> Replacements<'s> {
    pub(crate) fn new(
        step: usize,
        replacements: &'s [TextReplacement],
    ) -> Result<Self, CompileError> {
        let compile = |one: &'s TextReplacement| Ok((Patterns::new(step, &one.files)?, one));
        Ok(Self { all: replacements.iter().map(compile).collect::<Result<_, CompileError>>()? })
    }

    /// What is replaced in the file at `path`, if anything may be.
    pub(crate) fn for_file(&self, path: &[u8]) -> Option<Scanner<'s>> {
        // A single file has no path below its source; every pattern is about it.
        let wanted = |patterns: &Patterns| path.is_empty() || patterns.matches(path);
        let texts: Vec<&TextReplacement> = self
            .all
            .iter()
            .filter(|(patterns, one)| wanted(patterns) && !one.text.is_empty())
            .map(|(_, one)| *one)
            .collect();
        if texts.is_empty() { None } else { Scanner::new(texts) }
    }
}

/// Looks for the texts of one file.
pub(crate) struct Scanner<'s> {
    texts: Vec<&'s TextReplacement>,
    finder: AhoCorasick,
}

impl<'s> Scanner<'s> {
    fn new(texts: Vec<&'s TextReplacement>) -> Option<Self> {
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(texts.iter().map(|one| one.text.as_bytes()))
            .ok()?;
        Some(Self { texts, finder })
    }

    /// Every occurrence in what `data` gives: leftmost first, the longest where several start, none in another.
    pub(crate) fn scan(&self, mut data: impl Read) -> io::Result<Vec<Substitution>> {
        let longest = self.texts.iter().map(|one| one.text.len()).max().unwrap_or(0);
        let mut found = Vec::new();
        let mut buffer: Vec<u8> = Vec::new();
        let (mut position, mut from) = (0_u64, 0_usize);
        loop {
            let have = buffer.len();
            let read = (&mut data).take(STEP as u64).read_to_end(&mut buffer)?;
            debug_assert_eq!(buffer.len(), have + read);
            let at_end = read < STEP;
            // What starts later may be longer than what is here, or end where the next byte is not known.
            let decided =
                if at_end { buffer.len() } else { buffer.len().saturating_sub(longest + 1) };
            self.scan_buffer(&buffer, position, decided, &mut from, &mut found);
            if at_end {
                return Ok(found);
            }
            buffer.drain(..decided);
            from = from.saturating_sub(decided);
            position += decided as u64;
        }
    }

    /// What a link's target becomes.
    pub(crate) fn template(&self, text: &[u8]) -> Template {
        let mut found = Vec::new();
        self.scan_buffer(text, 0, text.len(), &mut 0, &mut found);
        let mut parts = Vec::new();
        let mut at = 0;
        for one in found {
            let start = usize::try_from(one.range.offset).unwrap_or(at);
            if start > at {
                parts.push(model::Part::Literal(text[at..start].to_vec()));
            }
            at = start + usize::try_from(one.range.length).unwrap_or(0);
            parts.extend(one.with.0);
        }
        if at < text.len() {
            parts.push(model::Part::Literal(text[at..].to_vec()));
        }
        Template(parts)
    }

    fn scan_buffer(
        &self,
        buffer: &[u8],
        position: u64,
        decided: usize,
        from: &mut usize,
        found: &mut Vec<Substitution>,
    ) {
        let mut matches: Vec<(usize, usize, usize)> = self
            .finder
            .find_overlapping_iter(buffer)
            .filter(|one| one.start() < decided && ends_at_boundary(buffer, one.end()))
            .map(|one| (one.start(), one.end(), one.pattern().as_usize()))
            .collect();
        matches.sort_by_key(|&(start, end, pattern)| (start, usize::MAX - end, pattern));
        for (start, end, pattern) in matches {
            if start < *from {
                continue;
            }
            let range = Extent { offset: position + start as u64, length: (end - start) as u64 };
            found.push(Substitution { range, with: self.texts[pattern].with.clone(), form: None });
            *from = end;
        }
    }
}

/// `/opt/redis` in `/opt/redis/bin` and `"/opt/redis"`, but not in `/opt/redis-cluster`.
fn ends_at_boundary(buffer: &[u8], end: usize) -> bool {
    buffer.get(end).is_none_or(|next| !(next.is_ascii_alphanumeric() || b"_.-".contains(next)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use script::TextReplacement;

    use super::{Replacements, STEP};

    fn texts(texts: &[&str]) -> Vec<TextReplacement> {
        let one = |text: &&str| TextReplacement {
            files: vec!["**".to_owned()],
            text: (*text).into(),
            with: "${prefix}".parse().unwrap(),
        };
        texts.iter().map(one).collect()
    }

    fn found(wanted: &[&str], data: &[u8]) -> Vec<(u64, u64)> {
        let texts = texts(wanted);
        let scanner = Replacements::new(1, &texts).unwrap().for_file(b"etc/a.conf").unwrap();
        let ranges = scanner.scan(data).unwrap();
        ranges.iter().map(|one| (one.range.offset, one.range.length)).collect()
    }

    #[test]
    fn texts_end_where_a_path_ends() {
        let data = b"a=/opt/redis/bin:/opt/redis b=/opt/redis-cluster c=/opt/redis.d \"/opt/redis\"/opt/redis";
        assert_eq!(found(&["/opt/redis"], data), [(2, 10), (17, 10), (65, 10), (76, 10)]);
    }

    #[test]
    fn the_longest_that_ends_rightly_wins() {
        assert_eq!(found(&["/opt/a", "/opt/a/b"], b"/opt/a/b /opt/a/bc"), [(0, 8), (9, 6)]);
    }

    #[test]
    fn links_are_texts_too() {
        let texts = texts(&["/opt/a"]);
        let scanner = Replacements::new(1, &texts).unwrap().for_file(b"x").unwrap();
        assert_eq!(scanner.template(b"/opt/a/bin").to_string(), "${prefix}/bin");
        assert_eq!(scanner.template(b"$/opt/ab").to_string(), "$$/opt/ab");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_text_is_found_wherever_the_buffer_ends(shift in 0_usize..40, next in "[ab/ ]") {
            let mut data = vec![b' '; STEP - 20 + shift];
            let at = data.len() as u64;
            data.extend_from_slice(b"/opt/redis");
            data.extend_from_slice(next.as_bytes());
            data.resize(data.len() + 30, b'x');
            let expected = if "ab".contains(&next) { vec![] } else { vec![(at, 10)] };
            prop_assert_eq!(found(&["/opt/redis"], &data), expected);
        }
    }
}
