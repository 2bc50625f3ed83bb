use crate::vocabulary::Shape;

impl Shape {
    /// What it is, for people.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Text | Self::Template | Self::Mode | Self::Time | Self::Acl => "a text",
            Self::Name => "a text that is not empty",
            Self::Path | Self::Source => "a path",
            Self::Truth => "`true` or `false`",
            Self::Id => "a whole number from 0 to 4294967295",
            Self::Number => "a whole number",
            Self::Word(_) => "a word",
            Self::Words(_) => "a list of words",
            Self::Duration => "a length of time",
            Self::Condition => "a condition in a text",
            Self::Patterns => "a list of patterns",
            Self::Templates | Self::Texts | Self::Lines => "a list of texts",
            Self::Command => "a command in a list",
            Self::Undo => "`outputs`, `irreversible` or a command in a list",
            Self::Xattrs | Self::ExitCodes | Self::Assignments => "a table of texts",
            Self::Sections => "a table of tables of texts",
            Self::SectionKeys => "a table of lists of texts",
            Self::Replacements | Self::Followers => "a list of tables",
            Self::Values => "a table of values",
            Self::Recovery => "a list of words with lengths of time",
        }
    }

    /// Something that can be typed.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Text | Self::Template => "\"…\"",
            Self::Name => "\"name\"",
            Self::Path => "\"/opt/redis\"",
            Self::Source => "\"files/…\"",
            Self::Truth => "true",
            Self::Id => "600",
            Self::Number => "50",
            Self::Word(words) => match words.first() {
                Some(&"newer") => "\"newer\"",
                Some(&"automatic") => "\"automatic\"",
                Some(&"normal") => "\"normal\"",
                _ => "\"install\"",
            },
            Self::Words(_) => "[\"current\"]",
            Self::Mode => "\"0755\"",
            Self::Time => "\"2026-01-31T12:00:00Z\"",
            Self::Duration => "\"10min\"",
            Self::Condition => "'machine.os == \"linux\"'",
            Self::Xattrs => "{ \"user.name\" = \"value\" }",
            Self::Acl => "\"user::rw-,user:redis:r--,group::r--,mask::rw-,other::---\"",
            Self::Patterns => "[\"etc/*.conf\"]",
            Self::Templates | Self::Texts | Self::Lines => "[\"…\"]",
            Self::Command => "[\"/usr/bin/program\", \"argument\"]",
            Self::Undo => {
                "\"outputs\"` (what `outputs` names is put back), `undo = [\"command\", …]` or `undo = \"irreversible\""
            }
            Self::ExitCodes => "{ 0 = \"done\", 3010 = \"restart\" }",
            Self::Assignments => "{ KEY = \"value\" }",
            Self::Sections => "{ section = { key = \"value\" } }",
            Self::SectionKeys => "{ section = [\"key\"] }",
            Self::Replacements => {
                "[{ files = [\"etc/*.conf\"], text = \"/opt/redis\", with = \"${prefix}\" }]"
            }
            Self::Values => "{ Version = \"1.0\", Flags = { dword = 3 } }",
            Self::Recovery => "[\"restart 60s\", \"nothing\"]",
            Self::Followers => {
                "[{ name = \"editor.1.gz\", link = \"/usr/share/man/…\", path = \"/opt/…\" }]"
            }
        }
    }
}
