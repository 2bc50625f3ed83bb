//! `packhorse site window`: hours in which clients may be changed.

use ::site::{Client, Folder, SiteError, SiteWindow, WindowStatus};
use deployment::{Cadence, Recurrence, When, Window, Zone};
use jiff::{
    ToSpan as _,
    civil::{Date, Time},
};
use operate::Exit;
use serde_json::json;

use super::{
    clients::{Whom, when},
    done,
};
use crate::store::Answer;

#[derive(clap::Subcommand)]
pub(super) enum WindowCommand {
    /// Save one, new or changed: then its clients are changed only while one of their windows is open.
    #[command(
        after_help = "Examples:\n  packhorse site window add night --every mon,tue,wed,thu --at 22:00 --minutes 360 --to servers\n  \
packhorse site window add patches --every 'month 2nd tue' --at 01:00 --minutes 240 --zone Europe/Berlin --everybody"
    )]
    Add(Box<Add>),
    /// List them.
    #[command(after_help = "Example:\n  packhorse site window list")]
    List,
    /// Remove one. Clients that have no other may be changed at all hours.
    #[command(after_help = "Example:\n  packhorse site window remove night")]
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(clap::Args)]
pub(super) struct Add {
    /// Its name.
    name: String,
    /// The time of day it opens: `22:00`.
    #[arg(long, value_name = "TIME")]
    at: Time,
    /// It closes when the clock shows so many minutes more: `--at 22:00 --minutes 360` is until 4:00, also on the day the clock is
    /// changed.
    #[arg(long, value_name = "MINUTES")]
    minutes: u32,
    /// How often: `day`, `3 days`, `mon,thu`, `2 weeks sun`, `month 15`, `month 2nd tue`, `month last fri`.
    #[arg(long, value_name = "HOW-OFTEN", default_value = "day")]
    every: Cadence,
    /// The first day; every so many days, weeks and months are counted from there. Yesterday, if nothing is said.
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Whose clock: `Europe/Berlin`, `UTC`; that of each client, if nothing is said.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// It does not open any more from then on: `2026-12-01T20:00:00Z`, or without `Z` by the clock of each client.
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
    #[command(flatten)]
    whom: Whom,
}

impl Add {
    fn window(&self) -> Window {
        let today = jiff::Zoned::now().date();
        // One that opened yesterday may be open still.
        let from = self.from.unwrap_or_else(|| today.saturating_sub(1.day()));
        let zone = self.zone.as_deref().map_or(Zone::Client, |name| Zone::Named(name.into()));
        Window {
            name: self.name.as_str().into(),
            opens: Recurrence {
                from: from.to_datetime(self.at),
                zone,
                cadence: self.every.clone(),
            },
            minutes: self.minutes,
            until: self.until.clone(),
        }
    }
}

fn line(one: &WindowStatus) -> String {
    let next = one.next.and_then(|at| jiff::Timestamp::from_second(at).ok());
    let now = match (one.open, next) {
        (true, Some(until)) => format!("open until {until}"),
        (true, None) => "open".to_owned(),
        (false, Some(from)) => format!("opens {from}"),
        (false, None) => "does not open any more".to_owned(),
    };
    format!("{}: {}; for {} ({} clients): {now}\n", one.name, one.when, one.to, one.clients)
}

/// `packhorse site window`.
pub(super) fn window(folder: &Folder, command: &WindowCommand) -> Result<Answer, SiteError> {
    let client = Client::local(folder)?;
    Ok(match command {
        WindowCommand::Add(add) => {
            let new = SiteWindow { window: add.window(), target: add.whom.target(&client)? };
            client.save_window(&new)?;
            let saved = client.windows()?.into_iter().find(|one| one.name == add.name.trim());
            done(saved.map_or_else(String::new, |one| line(&one)))
        }
        WindowCommand::List => {
            let all = client.windows()?;
            Answer { exit: Exit::Done, text: all.iter().map(line).collect(), json: json!(all) }
        }
        WindowCommand::Remove { name } => {
            client.remove_window(name)?;
            done(format!("{name}: removed\n"))
        }
    })
}
