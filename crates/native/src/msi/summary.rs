//! What a database says of itself: the property set Windows Installer reads before anything else ([MS-OLEPS]).

/// The name of its stream.
pub(super) const NAME: &str = "\u{5}SummaryInformation";
/// The format of the set.
const FORMAT: [u8; 16] = [
    0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3, 0xd9,
];
/// UTF-8.
const PAGE: u16 = 65001;

/// What stands in it.
pub(super) struct Summary {
    pub(super) subject: String,
    pub(super) author: String,
    pub(super) comments: String,
    /// This very file.
    pub(super) code: String,
    /// The oldest Windows Installer that reads it, times a hundred.
    pub(super) schema: i32,
}

impl Summary {
    pub(super) fn encode(&self) -> Vec<u8> {
        let text = |text: &str| {
            let mut bytes = 30_u32.to_le_bytes().to_vec();
            let length = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
            bytes.extend(length.to_le_bytes());
            bytes.extend(text.as_bytes());
            bytes.push(0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let number = |kind: u32, number: i32| {
            [kind.to_le_bytes(), number.to_le_bytes()].as_flattened().to_vec()
        };
        let properties: [(u32, Vec<u8>); 11] = [
            (1, number(2, PAGE.into())),
            (2, text("Installation Database")),
            (3, text(&self.subject)),
            (4, text(&self.author)),
            (5, text("Installer")),
            (6, text(&self.comments)),
            (7, text("x64;1033")),
            (9, text(&self.code)),
            (14, number(3, self.schema)),
            // Long names, packed.
            (15, number(3, 2)),
            (18, text("Packhorse")),
        ];
        let mut index = Vec::new();
        let mut values = Vec::new();
        let start = 8 + properties.len() * 8;
        let long = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        for (id, value) in &properties {
            index.extend(id.to_le_bytes());
            index.extend(long(start + values.len()));
            values.extend_from_slice(value);
        }
        let mut out = vec![0xfe, 0xff, 0, 0, 10, 0, 2, 0];
        out.extend([0; 16]);
        out.extend(1_u32.to_le_bytes());
        out.extend(FORMAT);
        out.extend(long(out.len() + 4));
        out.extend(long(start + values.len()));
        out.extend(long(properties.len()));
        out.extend(index);
        out.extend(values);
        out
    }
}
