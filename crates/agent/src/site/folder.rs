use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use running::Message;

use super::{Asking, CheckIn, Site, SiteError};

/// A site without a server: a file says what is deployed, messages are written to another, packages are in distribution points.
#[derive(Debug)]
pub struct FolderSite {
    policy: PathBuf,
    messages: PathBuf,
    points: Vec<String>,
}

impl FolderSite {
    /// The policy document is `policy`; messages are appended to `messages`, one JSON object a line.
    pub fn new(policy: PathBuf, messages: PathBuf, points: Vec<String>) -> Self {
        Self { policy, messages, points }
    }

    /// The last message that is there whole; what a crash tore off behind it is cut.
    fn last(&self) -> io::Result<Option<(u64, u64)>> {
        let file = match File::open(&self.messages) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut last, mut whole) = (None, 0);
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let Ok(message) = serde_json::from_slice::<Message>(&line) else { break };
            last = Some((message.series, message.sequence));
            whole += line.len() as u64;
            line.clear();
        }
        let file = OpenOptions::new().write(true).open(&self.messages)?;
        if file.metadata()?.len() > whole {
            file.set_len(whole)?;
        }
        Ok(last)
    }
}

fn unreachable(path: &Path, error: &io::Error) -> SiteError {
    SiteError::Unreachable {
        address: path.display().to_string(),
        reason: error.to_string(),
        retry_after: None,
    }
}

impl Site for FolderSite {
    fn check_in(&mut self, _: &Asking) -> Result<CheckIn, SiteError> {
        let bytes = fs::read(&self.policy).map_err(|error| unreachable(&self.policy, &error))?;
        let heard = self.last().map_err(|error| unreachable(&self.messages, &error))?;
        // Whoever knows what is in force tells whether it is news: a number that was not raised is a mistake somebody made.
        Ok(CheckIn { document: Some(bytes), heard, next: None })
    }

    fn deliver(&mut self, messages: &[Message]) -> Result<u64, SiteError> {
        let refused = |error: io::Error| unreachable(&self.messages, &error);
        let last = self.last().map_err(refused)?;
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.messages).map_err(refused)?;
        let mut through = 0;
        let mut lines = Vec::new();
        for message in messages {
            through = message.sequence;
            let is_new = last.is_none_or(|(series, sequence)| {
                series != message.series || sequence < message.sequence
            });
            if is_new {
                lines.extend(serde_json::to_vec(message).unwrap_or_default());
                lines.push(b'\n');
            }
        }
        file.write_all(&lines).and_then(|()| file.sync_all()).map_err(refused)?;
        Ok(through)
    }

    fn deliver_inventory(&mut self, inventory: &[u8]) -> Result<bool, SiteError> {
        let path = self.messages.with_extension("inventory");
        crate::durable::write(&path, inventory).map_err(|error| unreachable(&path, &error))?;
        Ok(true)
    }

    fn wants_inventory(&self) -> bool {
        false
    }

    fn points(&self) -> Vec<String> {
        self.points.clone()
    }

    fn watched(&self) -> Option<PathBuf> {
        Some(self.policy.clone())
    }
}
