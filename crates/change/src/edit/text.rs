/// The mark some editors put before UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// A text as lines that remember their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    mark: bool,
    pub(super) lines: Vec<Line>,
}

/// A line and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) content: Vec<u8>,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Newline,
    ReturnNewline,
    /// The last line of a text may have none.
    None,
}

impl Text {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (mark, bytes) = match bytes.strip_prefix(MARK) {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        Self { mark, lines: bytes.split_inclusive(|byte| *byte == b'\n').map(Line::read).collect() }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = if self.mark { MARK.to_vec() } else { Vec::new() };
        for line in &self.lines {
            bytes.extend(line.write());
        }
        bytes
    }

    /// The content of the last line, if that has no end.
    pub(super) fn unended(&self) -> Option<Vec<u8>> {
        self.lines.last().filter(|line| line.end == End::None).map(|line| line.content.clone())
    }

    /// Takes the end of the last line away, if it is the line that had none.
    pub(super) fn unend(&mut self, unended: Option<&[u8]>) {
        if let Some(last) = self.lines.last_mut()
            && unended == Some(&last.content)
        {
            last.end = End::None;
        }
    }

    /// How lines of this text end: as the first does.
    pub(super) fn end(&self) -> End {
        match self.lines.first().map(|line| line.end) {
            Some(End::ReturnNewline) => End::ReturnNewline,
            _ => End::Newline,
        }
    }

    /// Puts a line at a position, and gives the line before it an end if it had none.
    pub(super) fn insert(&mut self, position: usize, content: Vec<u8>) {
        let end = self.end();
        self.insert_line(position, Line { content, end });
    }

    /// Puts a line at a position as it is, except that only the last line may have no end.
    pub(super) fn insert_line(&mut self, position: usize, mut line: Line) {
        let end = self.end();
        if position < self.lines.len() && line.end == End::None {
            line.end = end;
        }
        if let Some(previous) =
            position.checked_sub(1).and_then(|before| self.lines.get_mut(before))
            && previous.end == End::None
        {
            previous.end = end;
        }
        self.lines.insert(position, line);
    }
}

impl Line {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let (content, end) = if let Some(content) = bytes.strip_suffix(b"\r\n") {
            (content, End::ReturnNewline)
        } else if let Some(content) = bytes.strip_suffix(b"\n") {
            (content, End::Newline)
        } else {
            (bytes, End::None)
        };
        Self { content: content.to_vec(), end }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = self.content.clone();
        bytes.extend_from_slice(match self.end {
            End::Newline => b"\n",
            End::ReturnNewline => b"\r\n",
            End::None => b"",
        });
        bytes
    }

    pub(super) fn is_blank(&self) -> bool {
        self.content.iter().all(u8::is_ascii_whitespace)
    }
}
