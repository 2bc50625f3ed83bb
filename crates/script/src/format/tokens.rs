use toml_parser::{
    Source,
    parser::{Event, EventKind, parse_document},
};

/// The words of a TOML text, without the space between them.
pub(super) struct Tokens<'t> {
    text: &'t str,
    events: std::vec::IntoIter<Event>,
}

impl<'t> Tokens<'t> {
    /// The words of a text that was read before and is TOML.
    pub(super) fn of(text: &'t str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let mut events = Vec::with_capacity(tokens.len());
        let mut keep = |event: Event| {
            if event.kind() != EventKind::Whitespace {
                events.push(event);
            }
        };
        parse_document(&tokens, &mut keep, &mut ());
        Self { text, events: events.into_iter() }
    }

    pub(super) fn peek(&self) -> Option<EventKind> {
        self.events.as_slice().first().map(Event::kind)
    }

    pub(super) fn next(&mut self) {
        self.events.next();
    }

    /// The next word as it is written.
    pub(super) fn take(&mut self) -> &'t str {
        let Some(event) = self.events.next() else { return "" };
        self.text.get(event.span().start()..event.span().end()).unwrap_or_default()
    }

    /// `a.b."c d"` as it is written, without spaces.
    pub(super) fn key_path(&mut self) -> String {
        let mut path = String::new();
        while matches!(self.peek(), Some(EventKind::SimpleKey | EventKind::KeySep)) {
            path.push_str(self.take());
        }
        path
    }
}
