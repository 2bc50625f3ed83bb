mod line;

use std::collections::BTreeMap;

use crate::{FileMeta, Part, Place, Problem};
pub(crate) use line::{parse_line, path_order, print_line};

/// The first line of every `files.meta`.
pub(crate) const HEADER: &str = "# files.meta 1";
const HEADER_START: &str = "# files.meta ";

/// Reads a `files.meta`, whole.
///
/// # Errors
/// Everything that is wrong with it, line by line.
pub fn parse_files_meta(text: &str) -> Result<Vec<FileMeta>, Vec<Problem>> {
    let (entries, problems): (Vec<_>, Vec<_>) =
        read_files_meta(text.lines()).partition(Result::is_ok);
    if problems.is_empty() {
        Ok(entries.into_iter().flatten().collect())
    } else {
        Err(problems.into_iter().filter_map(Result::err).collect())
    }
}

/// Reads a `files.meta` line by line, keeping one entry in memory.
///
/// The first line is the header with the format; empty lines and comments (`#`) are skipped. Entries
/// are sorted by path and named once: what breaks the order is an error of its line.
pub fn read_files_meta<'t>(
    lines: impl IntoIterator<Item = &'t str>,
) -> impl Iterator<Item = Result<FileMeta, Problem>> {
    let mut last: Option<Vec<u8>> = None;
    let mut readable = true;
    let mut lines = lines.into_iter().enumerate();
    let header = check_header(lines.next().map(|(_, line)| line)).err();
    readable &= header.is_none();
    header.into_iter().map(Err).chain(lines.filter_map(move |(index, line)| {
        if !readable || is_skipped(line) {
            return None;
        }
        let place = Place::of(Part::FilesMeta { line: index + 1 });
        let entry = match parse_line(line) {
            Ok(entry) => entry,
            Err(error) => return Some(Err(Problem::error(place, error.message).hint(error.hint))),
        };
        let order = last.as_ref().map(|last| path_order(last, &entry.path));
        last = Some(entry.path.clone());
        let path = model::escape(&entry.path);
        Some(match order {
            None | Some(std::cmp::Ordering::Less) => Ok(entry),
            Some(std::cmp::Ordering::Equal) => {
                Err(Problem::error(place, format!("`{path}` is there twice")).hint("keep one line"))
            }
            Some(std::cmp::Ordering::Greater) => {
                Err(Problem::error(place, format!("`{path}` comes before the line above"))
                    .hint("`packhorse script fmt` sorts the lines"))
            }
        })
    }))
}

fn is_skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn check_header(line: Option<&str>) -> Result<(), Problem> {
    let place = Place::of(Part::FilesMeta { line: 1 });
    let line = line.unwrap_or_default().trim_end();
    if line == HEADER {
        return Ok(());
    }
    Err(match line.strip_prefix(HEADER_START).map(str::parse::<u64>) {
        Some(Ok(newer)) if newer > 1 => Problem::error(
            place,
            format!("it has format {newer}, and this packhorse reads format 1"),
        )
        .hint("open it with a newer packhorse; the file stays as it is"),
        _ => Problem::error(place, "it does not say its format")
            .hint(format!("the first line is `{HEADER}`")),
    })
}

/// Writes a `files.meta`, whole, sorted by path.
pub fn print_files_meta<'e>(entries: impl IntoIterator<Item = &'e FileMeta>) -> String {
    let mut entries: Vec<&FileMeta> = entries.into_iter().collect();
    entries.sort_by(|a, b| path_order(&a.path, &b.path));
    write_files_meta(entries).collect()
}

/// Writes a `files.meta` line by line, each with its end, of entries that are sorted by path already
/// (as [`model::MachinePath`]s sort: a folder right before what it holds).
pub fn write_files_meta<'e>(
    entries: impl IntoIterator<Item = &'e FileMeta>,
) -> impl Iterator<Item = String> {
    std::iter::once(format!("{HEADER}\n"))
        .chain(entries.into_iter().map(|entry| format!("{}\n", print_line(entry))))
}

/// Lays out a `files.meta`: sorted, every line in its one form, comments kept above their line.
///
/// # Errors
/// Everything that is wrong with it, but for the order of its lines.
pub fn format_files_meta(text: &str) -> Result<String, Vec<Problem>> {
    check_header(text.lines().next()).map_err(|problem| vec![problem])?;
    let mut entries: BTreeMap<Sorted, (String, String)> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut comments = String::new();
    for (index, line) in text.lines().enumerate().skip(1) {
        let place = Place::of(Part::FilesMeta { line: index + 1 });
        if is_skipped(line) {
            if !line.trim().is_empty() {
                comments.push_str(line.trim_end());
                comments.push('\n');
            }
            continue;
        }
        match parse_line(line) {
            Ok(entry) => {
                let said = (std::mem::take(&mut comments), print_line(&entry));
                if entries.insert(Sorted(entry.path.clone()), said).is_some() {
                    let path = model::escape(&entry.path);
                    problems.push(
                        Problem::error(place, format!("`{path}` is there twice"))
                            .hint("keep one line"),
                    );
                }
            }
            Err(error) => problems.push(Problem::error(place, error.message).hint(error.hint)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut laid_out = format!("{HEADER}\n");
    for (comments, line) in entries.into_values() {
        laid_out.push_str(&comments);
        laid_out.push_str(&line);
        laid_out.push('\n');
    }
    laid_out.push_str(&comments);
    Ok(laid_out)
}

/// A path that sorts as [`path_order`] says.
#[derive(PartialEq, Eq)]
struct Sorted(Vec<u8>);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        path_order(&self.0, &other.0)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
