//! `packhorse site dp`: distribution points, and groups of them.

use ::site::{Client, Folder, GroupStatus, SiteError, Status};
use operate::Exit;
use serde_json::json;

use super::{current, done};
use crate::store::Answer;

#[derive(clap::Subcommand)]
pub(super) enum Dp {
    /// Add one: an empty folder, or one of a bucket: `s3://BUCKET/FOLDER`, `gs://…`, `az://…`.
    #[command(after_help = "Example:\n  packhorse site dp add berlin /srv/packages")]
    Add {
        /// Its name.
        name: String,
        /// Where it is.
        #[arg(value_name = "URL-OR-DIR")]
        location: String,
        /// Where clients read it: `http(s)://…` of a web server that serves it, `s3://…`, a folder; in the same place, if nothing
        /// is said.
        #[arg(long, value_name = "URL-OR-DIR")]
        read_at: Option<String>,
    },
    /// Say where clients read one; where the site writes it, if nothing is said.
    #[command(
        after_help = "Example:\n  packhorse site dp read-at berlin http://files.berlin.example.org/packages"
    )]
    ReadAt {
        /// Its name.
        name: String,
        /// Where: `http(s)://…`, `s3://…`, a folder.
        #[arg(value_name = "URL-OR-DIR")]
        location: Option<String>,
    },
    /// Clean one and forget it.
    #[command(after_help = "Example:\n  packhorse site dp remove berlin")]
    Remove {
        /// Its name.
        name: String,
        /// Forget it as it is: nothing there is cleaned.
        #[arg(long)]
        force: bool,
    },
    /// Have points belong to a group; the first ones make it.
    #[command(
        after_help = "Example:\n  packhorse site dp join europe berlin LEIPZIG/office\n  packhorse site assign redis --group europe"
    )]
    Join(Members),
    /// Have points belong to a group no longer.
    #[command(after_help = "Example:\n  packhorse site dp leave europe berlin")]
    Leave(Members),
    /// List them, and their groups.
    #[command(after_help = "Example:\n  packhorse site dp list")]
    List,
}

#[derive(clap::Args)]
pub(super) struct Members {
    /// The group.
    group: String,
    /// The points: here, or `SITE/POINT` below.
    #[arg(value_name = "NAME", required = true)]
    points: Vec<String>,
}

pub(super) fn run(folder: &Folder, command: &Dp) -> Result<Answer, SiteError> {
    Ok(match command {
        Dp::Add { name, location, read_at } => {
            Client::local(folder)?.add_point_read_at(name, location, read_at.as_deref())?;
            let read = read_at.as_deref().unwrap_or(location);
            let is_plain = ::store::is_folder(read) || read.starts_with("http");
            let hint = if is_plain {
                String::new()
            } else {
                format!(
                    "clients read buckets if their agent is built for it (its feature `buckets`), or by an address: `packhorse site dp read-at {name} https://…`\n"
                )
            };
            done(format!("{name}: {location}\n{hint}"))
        }
        Dp::ReadAt { name, location } => {
            Client::local(folder)?.read_point_at(name, location.as_deref())?;
            let at = location.as_deref().unwrap_or("where the site writes it");
            done(format!("{name} is read at {at}\n"))
        }
        Dp::Remove { name, force } => {
            Client::local(folder)?.remove_point(name, *force)?;
            done(format!("{name} is being removed\n"))
        }
        Dp::Join(Members { group, points }) => {
            Client::local(folder)?.group(group, points, true)?;
            done(format!("{} belong to {group}\n", points.join(", ")))
        }
        Dp::Leave(Members { group, points }) => {
            Client::local(folder)?.group(group, points, false)?;
            done(format!("{} belong to {group} no longer\n", points.join(", ")))
        }
        Dp::List => {
            let Status { points, groups, .. } = current(folder)?;
            let of = |name: &str| {
                let has = |group: &&GroupStatus| group.points.iter().any(|point| point == name);
                let names: Vec<&str> = groups.iter().filter(has).map(|one| &*one.name).collect();
                if names.is_empty() { String::new() } else { format!(", of {}", names.join(", ")) }
            };
            let text = points.iter().map(|point| {
                let read = point.read_at.as_ref().map(|at| format!(", read at {at}"));
                let (name, read) = (&point.name, read.unwrap_or_default());
                format!("{name} {}{read}{}\n", point.location, of(name))
            });
            Answer { exit: Exit::Done, text: text.collect(), json: json!(points) }
        }
    })
}
