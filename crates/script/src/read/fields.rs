use std::{collections::HashMap, fmt::Display, ops::Range};

use model::{Condition, Template};
use toml_edit::{Item, TableLike, Value};

use crate::{
    ConditionError, Place, Problem, parse_condition,
    problem::{Lines, did_you_mean},
    vocabulary::{Key, Shape, Table},
};

/// A text being read, and what was found wrong with it so far.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) problems: Vec<Problem>,
    lines: Lines<'t>,
    /// Conditions repeat, and reading one costs more than reading the step it stands in.
    conditions: HashMap<String, Result<Condition, ConditionError>>,
}

/// A table being read.
pub(super) struct Fields<'r, 't, 'd> {
    pub(super) reader: &'r mut Reader<'t>,
    pub(super) place: Place,
    table: &'d dyn TableLike,
    head: Range<usize>,
    specs: &'r [&'static Table],
}

/// The tables of `[[x]]`, or of `x = [{ … }]`, and where they start.
pub(super) fn tables(item: &Item) -> Vec<(&dyn TableLike, Range<usize>)> {
    match item {
        Item::ArrayOfTables(tables) => tables
            .iter()
            .map(|table| (table as &dyn TableLike, table.span().unwrap_or_default()))
            .collect(),
        Item::Value(Value::Array(array)) => array
            .iter()
            .filter_map(|value| {
                let table = value.as_inline_table()?;
                Some((table as &dyn TableLike, value.span().unwrap_or_default()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Where a key stands.
pub(super) fn key_span(table: &dyn TableLike, key: &str) -> Range<usize> {
    table.key(key).and_then(toml_edit::Key::span).unwrap_or_default()
}

/// What an item is, for people.
pub(super) fn kind_of(item: &Item) -> &'static str {
    match item {
        Item::None => "nothing",
        Item::Value(value) => kind_of_value(value),
        Item::Table(_) => "a table",
        Item::ArrayOfTables(_) => "a list of tables",
    }
}

pub(super) fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a fraction",
        Value::Boolean(_) => "a truth value",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}

impl<'t> Reader<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, problems: Vec::new(), lines: Lines::of(text), conditions: HashMap::new() }
    }

    pub(super) fn located(&self, place: Place, span: Range<usize>, message: String) -> Problem {
        let mut problem = Problem::error(place, message);
        problem.position = Some(Box::new(self.lines.position(span)));
        problem
    }

    /// What is wrong with a text that is no TOML.
    pub(super) fn syntax(&self, error: &toml_edit::TomlError) -> Problem {
        self.located(
            Place::of(crate::Part::Script),
            error.span().unwrap_or_default(),
            error.message().replace('\n', "; "),
        )
    }

    /// Opens a table, and refuses its unknown keys.
    pub(super) fn fields<'r, 'd>(
        &'r mut self,
        place: Place,
        item: &'d Item,
        head: Range<usize>,
        specs: &'r [&'static Table],
    ) -> Option<Fields<'r, 't, 'd>> {
        if let Some(table) = item.as_table_like() {
            return Some(Fields::open(self, place, table, head, specs));
        }
        let problem =
            self.located(place, head, format!("it must be a table, not {}", kind_of(item)));
        self.problems.push(problem);
        None
    }

    pub(super) fn condition(&mut self, text: &str) -> Result<Condition, ConditionError> {
        if let Some(known) = self.conditions.get(text) {
            return known.clone();
        }
        let condition = parse_condition(text);
        self.conditions.insert(text.to_owned(), condition.clone());
        condition
    }
}

impl<'r, 't, 'd> Fields<'r, 't, 'd> {
    pub(super) fn open(
        reader: &'r mut Reader<'t>,
        place: Place,
        table: &'d dyn TableLike,
        head: Range<usize>,
        specs: &'r [&'static Table],
    ) -> Self {
        let mut fields = Self { reader, place, table, head, specs };
        fields.refuse_unknown();
        fields
    }

    fn refuse_unknown(&mut self) {
        let table = self.table;
        for (name, _) in table.iter() {
            if self.spec(name).is_some() {
                continue;
            }
            let known = self.specs.iter().flat_map(|spec| spec.keys).map(|key| key.name);
            let hint = match did_you_mean(name, known.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it may have {}", listed(known)),
            };
            let span = key_span(table, name);
            let place = Place { key: None, ..self.place.clone() };
            let problem =
                self.reader.located(place, span, format!("it has no key `{name}`")).hint(hint);
            self.reader.problems.push(problem);
        }
    }

    fn spec(&self, name: &str) -> Option<&'static Key> {
        self.specs.iter().flat_map(|spec| spec.keys).find(|key| key.name == name)
    }

    /// The item of a key; missing where it must be there, that is a problem.
    pub(super) fn item(&mut self, key: &str) -> Option<&'d Item> {
        let item = self.table.get(key).filter(|item| !item.is_none());
        if item.is_none()
            && let Some(spec) = self.spec(key).filter(|spec| spec.required)
        {
            let hint = format!("add `{key} = {}`: {}", spec.shape.example(), sentence(spec.about));
            let (place, head) = (self.place.clone(), self.head.clone());
            let problem =
                self.reader.located(place, head, format!("`{key}` is missing")).hint(hint);
            self.reader.problems.push(problem);
        }
        item
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says what is wrong with a key.
    pub(super) fn wrong(
        &mut self,
        key: &str,
        span: Range<usize>,
        message: impl Display,
        hint: impl Display,
    ) {
        let problem = self
            .reader
            .located(self.place.key(key), span, message.to_string())
            .hint(hint.to_string());
        self.reader.problems.push(problem);
    }

    /// Says that a key holds the wrong kind of thing.
    pub(super) fn wrong_kind(&mut self, key: &str, span: Range<usize>, found: &str) {
        let shape = self.spec(key).map_or(Shape::Text, |spec| spec.shape);
        let span = if span.is_empty() { key_span(self.table, key) } else { span };
        self.wrong(
            key,
            span,
            format_args!("it must be {}, not {found}", shape.noun()),
            format_args!("write `{key} = {}`", shape.example()),
        );
    }

    /// Where a key's item stands.
    pub(super) fn span(&self, key: &str) -> Range<usize> {
        self.table
            .get(key)
            .and_then(Item::span)
            .filter(|span| !span.is_empty())
            .unwrap_or_else(|| key_span(self.table, key))
    }

    /// A key that holds one simple value.
    pub(super) fn value(&mut self, key: &str) -> Option<&'d Value> {
        let item = self.item(key)?;
        if item.as_value().is_none() {
            self.wrong_kind(key, self.span(key), kind_of(item));
        }
        item.as_value()
    }

    /// A text, taken as it is.
    pub(super) fn text(&mut self, key: &str) -> Option<&'d str> {
        let value = self.value(key)?;
        self.text_of(key, value)
    }

    /// A text that is not empty, taken as it is.
    pub(super) fn name(&mut self, key: &str) -> Option<&'d str> {
        let value = self.value(key)?;
        self.name_of(key, value)
    }

    /// A text that `parse` takes.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let text = self.text_of(key, value)?;
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let span = value.span().unwrap_or_default();
                let hint = match self.spec(key) {
                    Some(Key { shape: Shape::Name, about, .. }) => sentence(about),
                    Some(spec) => format!("like `{key} = {}`", spec.shape.example()),
                    None => String::new(),
                };
                self.wrong(key, span, error, hint);
                None
            }
        }
    }

    /// A text with variables.
    pub(super) fn template(&mut self, key: &str) -> Option<Template> {
        let value = self.value(key)?;
        self.template_of(key, value)
    }

    /// A template that starts with `/` or a variable.
    pub(super) fn path(&mut self, key: &str) -> Option<Template> {
        let value = self.value(key)?;
        self.path_of(key, value)
    }

    /// `true`, `false`, or what is meant when unsaid.
    pub(super) fn truth(&mut self, key: &str, unsaid: bool) -> bool {
        let Some(value) = self.value(key) else { return unsaid };
        value.as_bool().unwrap_or_else(|| {
            self.wrong_kind(key, value.span().unwrap_or_default(), kind_of_value(value));
            unsaid
        })
    }

    /// A whole number of type `N`.
    pub(super) fn number<N: TryFrom<i64>>(&mut self, key: &str) -> Option<N> {
        let value = self.value(key)?;
        let number = value.as_integer().and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            let found = match value.as_integer() {
                Some(number) => format!("{number}"),
                None => kind_of_value(value).to_owned(),
            };
            self.wrong_kind(key, value.span().unwrap_or_default(), &found);
        }
        number
    }

    /// One of the words of the key's shape, by its position among them.
    pub(super) fn word(&mut self, key: &str, words: &'static [&'static str]) -> usize {
        let Some(value) = self.value(key) else { return 0 };
        let Some(text) = self.text_of(key, value) else { return 0 };
        words.iter().position(|word| *word == text).unwrap_or_else(|| {
            let hint = match did_you_mean(text, words.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it may be {}", listed(words.iter().copied())),
            };
            self.wrong(
                key,
                value.span().unwrap_or_default(),
                format_args!("`{text}` means nothing here"),
                hint,
            );
            0
        })
    }

    /// Some of the words of the key's shape, by their positions among them.
    pub(super) fn words(&mut self, key: &str, words: &'static [&'static str]) -> Vec<usize> {
        let mut found = Vec::new();
        for value in self.list(key) {
            let Some(text) = self.text_of(key, value) else { continue };
            if let Some(position) = words.iter().position(|word| *word == text) {
                found.push(position);
            } else {
                let hint = format!("it may be {}", listed(words.iter().copied()));
                let span = value.span().unwrap_or_default();
                self.wrong(key, span, format_args!("`{text}` means nothing here"), hint);
            }
        }
        found
    }

    /// A condition in CEL.
    pub(super) fn condition(&mut self, key: &str) -> Option<Condition> {
        let value = self.value(key)?;
        let text = self.text_of(key, value)?;
        match self.reader.condition(text) {
            Ok(condition) => Some(condition),
            Err(error) => {
                let span = self.reader.inside(value, error.span.clone());
                self.wrong(key, span, &error.message, &error.hint);
                None
            }
        }
    }

    /// The simple values of a list; a single one is not a list.
    pub(super) fn list(&mut self, key: &str) -> Vec<&'d Value> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            let span = value.span().unwrap_or_default();
            self.wrong_kind(key, span, kind_of_value(value));
            return Vec::new();
        };
        array.iter().collect()
    }

    /// The tables of a list of tables.
    pub(super) fn tables(&mut self, key: &str) -> Vec<(&'d dyn TableLike, Range<usize>)> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let found = tables(item);
        let all = item.as_array_of_tables().map(toml_edit::ArrayOfTables::len);
        if all.or_else(|| item.as_array().map(toml_edit::Array::len)) != Some(found.len()) {
            let found = if item.is_array() { "a list of something else" } else { kind_of(item) };
            self.wrong_kind(key, self.span(key), found);
        }
        found
    }

    /// The entries of a table by key, in order.
    pub(super) fn entries(&mut self, key: &str) -> Vec<(&'d str, &'d Item, Range<usize>)> {
        let Some(item) = self.item(key) else { return Vec::new() };
        if let Some(table) = item.as_table_like() {
            entries_of(table)
        } else {
            self.wrong_kind(key, self.span(key), kind_of(item));
            Vec::new()
        }
    }
}

/// The entries of a table, in order, with where each value stands.
pub(super) fn entries_of(table: &dyn TableLike) -> Vec<(&str, &Item, Range<usize>)> {
    table
        .iter()
        .map(|(key, item)| {
            let span = item.span().filter(|span| !span.is_empty());
            (key, item, span.unwrap_or_else(|| key_span(table, key)))
        })
        .collect()
}

/// Words as people list them: "`a`, `b` or `c`".
pub(super) fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let mut words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
        None => String::new(),
    }
}

/// A sentence as the end of another: no full stop, small first letter.
fn sentence(about: &str) -> String {
    let mut letters = about.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
