//! `packhorse site`: a site made, run, asked and looked after.

mod clients;
mod points;
mod windows;

use std::{
    fs::{File, OpenOptions},
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ::site::{
    AddressSettings, Client, Folder, Listen, SiteError, SiteSettings, Status, Token, Trip, Way,
};
use ::store::PublishError;
use model::PackageName;
use operate::Exit;
use serde_json::json;

use crate::{
    store::{Answer, Failure, give},
    trust,
};

/// Run a site: packages published to it are brought to its distribution points, and stay there whole.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse site init TOP --data /var/lib/packhorse\n  packhorse site serve --data /var/lib/packhorse\n  \
packhorse site dp add berlin /srv/packages\n  packhorse site publish redis-7.2.4.package\n  packhorse site assign redis --dp berlin\n  \
packhorse site status\n\nExit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 needs a decision, 6 in use, 7 no space, 8 not everything \
is where it should be"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The site's folder.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/packhorse-site")]
    data: PathBuf,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a folder a site, or another machine's part of one.
    #[command(after_help = "Examples:\n  packhorse site init TOP --data /srv/site\n  \
packhorse site init TOP --database 'postgres://site@db/top?sslrootcert=/etc/ssl/db.pem' --store s3://packages/top --key-file /etc/packhorse/top.key\n  \
packhorse site init --join --database 'postgres://site@db/top?sslrootcert=/etc/ssl/db.pem' --key-file /etc/packhorse/top.key\n\n\
A bucket's endpoint and keys are in the environment, of this command and of `site serve`: AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID, \
AWS_SECRET_ACCESS_KEY; AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY; GOOGLE_SERVICE_ACCOUNT.")]
    Init {
        /// Its code: 1 to 32 upper-case letters, digits and hyphens.
        #[arg(required_unless_present = "join")]
        code: Option<String>,
        /// This machine takes part in the site whose tables are in `--database`.
        #[arg(long, requires = "database", conflicts_with = "code")]
        join: bool,
        /// An empty PostgreSQL database, such as `postgres://site@/top?host=/run/postgresql`; without it, a file in the
        /// site's folder.
        #[arg(long, value_name = "URL")]
        database: Option<String>,
        /// An empty folder of a bucket for the site's own copies, such as `s3://packages/top`; without it, `store` in the site's
        /// folder.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// Where this machine keeps what it uses of the bucket; without it, `cache` in the site's folder.
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
        /// How much that may be while it is not used, such as `500M` or `20G` [default: 10 GiB].
        #[arg(long, value_name = "BYTES", value_parser = bytes)]
        cache_size: Option<u64>,
        /// Seal the site's keys in the tables with the key in this file, made if it is not there. All machines of the site
        /// need it, and whoever restores a backup.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Take the tables to the newest schema, or into another database; the site must not run.
    #[command(
        after_help = "Examples:\n  packhorse site migrate --to 'postgres://site@/top?host=/run/postgresql'\n  \
packhorse site migrate --store s3://packages/top\n\nExit codes: 0 done, 1 failed, 4 it belongs to another site, 6 the site runs, 8 something was \
damaged and stayed behind"
    )]
    Migrate {
        /// An empty PostgreSQL database, or `sqlite` for a file in the site's folder.
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Take the site's own copies into an empty folder of a bucket, or with `folder` into the site's folder.
        #[arg(long, value_name = "URL", conflicts_with = "to")]
        store: Option<String>,
    },
    /// Run it, until SIGTERM. On PostgreSQL, several processes may.
    #[command(
        after_help = "Example:\n  packhorse site serve --data /srv/site --listen 127.0.0.1:7480"
    )]
    Serve {
        /// Where to listen; 127.0.0.1:7480, if `site.toml` says nothing either.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        /// Where to listen for child sites; without it, and without `link` in `site.toml`, none can call.
        #[arg(long, value_name = "ADDRESS")]
        link: Option<SocketAddr>,
        /// Where to listen for those who read packages: `packhorse fetch --from http://…`. Without it, and without `content` in
        /// `site.toml`, only the site's distribution points are read.
        #[arg(long, value_name = "ADDRESS")]
        content: Option<SocketAddr>,
        /// Where to listen for devices that speak hawkBit's protocol; without it, and without `ddi` in `site.toml`, none can call.
        #[arg(long, value_name = "ADDRESS")]
        ddi: Option<SocketAddr>,
    },
    /// Make this site a child of the one a token comes from; it must not run.
    #[command(
        after_help = "Example:\n  packhorse site attach --parent top.example.org:7481 --token berlin.token\n\nExit codes: 0 done, 1 failed, \
4 the parent refuses, 6 this site runs"
    )]
    Attach {
        /// Where the parent listens for children; several with commas. Without it, a courier goes between them.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "called")]
        parent: Option<String>,
        /// Where to wait for the parent's calls, if this machine cannot call: there, `packhorse site child add --call`.
        #[arg(long, value_name = "ADDRESS")]
        called: Option<SocketAddr>,
        /// What `packhorse site child add` wrote.
        #[arg(long, value_name = "FILE")]
        token: PathBuf,
    },
    /// Look after the sites below this one.
    #[command(after_help = "Example:\n  packhorse site child add BERLIN --token-to berlin.token")]
    Child {
        #[command(subcommand)]
        command: Child,
    },
    /// Say which package goes first.
    #[command(after_help = "Example:\n  packhorse site prioritise redis 9")]
    Prioritise {
        /// The package.
        package: PackageName,
        /// Greater goes first; packages begin with 0.
        priority: u8,
    },
    /// Say what is where, and why not elsewhere.
    #[command(
        after_help = "Examples:\n  packhorse site status --json\n  packhorse site status --watch\n\nExit codes: 0 all is as it should be, 1 failed, 8 not yet"
    )]
    Status {
        /// Go on until everything is where it should be.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Read the tables and name what is wrong.
    #[command(
        after_help = "Example:\n  packhorse site check\n\nExit codes: 0 nothing is wrong, 1 failed, 5 something is"
    )]
    Check,
    /// Write all tables into one new file; the site may run.
    #[command(after_help = "Example:\n  packhorse site backup --to /backup/site.db")]
    Backup {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup in place, and begin a new epoch; the site must not run.
    #[command(after_help = "Example:\n  packhorse site restore --from /backup/site.db")]
    Restore {
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Publish a package.
    #[command(after_help = "Examples:\n  packhorse site publish redis-7.2.4.package\n  \
packhorse site publish redis-7.2.4.package --key owner.key online.key\n  \
packhorse site publish berlin-tools.package --key berlin.key --role berlin\n\n\
Exit codes: 0 done, 1 failed, 4 a key is lacking, 5 damaged package, 9 it was there already")]
    Publish {
        /// The package, or an installer.
        package: PathBuf,
        /// Replace other content published under the same version.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        keys: trust::Keys,
        /// The team that signs [default: the owner of everything].
        #[arg(long, value_name = "TEAM", requires = "key")]
        role: Option<String>,
    },
    /// Believe a root of trust metadata: what comes from above has to be signed. A token of a parent that believes one brings it.
    #[command(
        after_help = "Example:\n  packhorse site pin root.json\n\nExit codes: 0 done, 1 failed, 4 another root is pinned"
    )]
    Pin {
        /// The root: a file from who signs.
        root: PathBuf,
        /// Pin it though another repository's root is pinned.
        #[arg(long)]
        replace: bool,
    },
    /// Remove a package everywhere.
    #[command(after_help = "Example:\n  packhorse site retire redis")]
    Retire {
        /// The package.
        package: PackageName,
    },
    /// Say which points are to hold a package.
    #[command(
        after_help = "Example:\n  packhorse site assign redis --dp berlin paris\n  packhorse site assign redis --group europe"
    )]
    Assign(Assignment),
    /// Say which points are to hold it no longer.
    #[command(after_help = "Example:\n  packhorse site unassign redis --dp paris")]
    Unassign(Assignment),
    /// Try again now: one copy, those of a point or a package, or all.
    #[command(after_help = "Example:\n  packhorse site retry --dp berlin")]
    Retry {
        /// Only at this point.
        #[arg(long, value_name = "NAME")]
        dp: Option<String>,
        /// Only this package.
        #[arg(long, value_name = "NAME")]
        package: Option<PackageName>,
    },
    /// Read every copy and compare; what is damaged is mended.
    #[command(after_help = "Example:\n  packhorse site verify")]
    Verify,
    /// Exchange with sites without a line, by a medium somebody carries.
    #[command(after_help = "Example:\n  packhorse site courier export --to /media/stick BERLIN")]
    Courier {
        #[command(subcommand)]
        command: Courier,
    },
    /// Look after clients: machines that are managed from this site.
    #[command(after_help = "Example:\n  packhorse site client list")]
    Client {
        #[command(subcommand)]
        command: clients::ClientCommand,
    },
    /// Have clients run a package or a command.
    #[command(
        after_help = "Examples:\n  packhorse site deploy redis --to web --wave 5%,soak=3600 --wave 100%\n  \
packhorse site deploy --id motd --everybody -- /usr/local/bin/motd --new"
    )]
    Deploy(Box<clients::Deploy>),
    /// Look after deployments.
    #[command(after_help = "Example:\n  packhorse site deployment list")]
    Deployment {
        #[command(subcommand)]
        command: clients::DeploymentCommand,
    },
    /// Look after collections: clients that belong together.
    #[command(after_help = "Example:\n  packhorse site collection list")]
    Collection {
        #[command(subcommand)]
        command: clients::CollectionCommand,
    },
    /// Look after maintenance windows: hours in which clients may be changed.
    #[command(after_help = "Example:\n  packhorse site window list")]
    Window {
        #[command(subcommand)]
        command: windows::WindowCommand,
    },
    /// Look after distribution points.
    #[command(after_help = "Example:\n  packhorse site dp add berlin /srv/packages")]
    Dp {
        #[command(subcommand)]
        command: points::Dp,
    },
}

#[derive(clap::Subcommand)]
enum Courier {
    /// Write what children lack, and this site's report to its parent.
    #[command(
        after_help = "Example:\n  packhorse site courier export --to /media/stick BERLIN\n\nExit codes: 0 done, 1 failed, 7 the medium is full, \
8 something was left out"
    )]
    Export {
        /// A folder of the medium.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// For these children; for all of them and the parent, if nobody is named.
        child: Vec<String>,
    },
    /// Take in what is there for this site; twice is once.
    #[command(
        after_help = "Example:\n  packhorse site courier import --from /media/stick\n\nExit codes: 0 done, 1 failed, 4 set aside, 8 something \
was damaged, 9 nothing for this site"
    )]
    Import {
        /// A folder of the medium.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

#[derive(clap::Args)]
struct Assignment {
    /// The package.
    package: PackageName,
    /// The points.
    #[arg(long, value_name = "NAME", num_args = 1.., required_unless_present = "group")]
    dp: Vec<String>,
    /// All points of these groups, now and later.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    group: Vec<String>,
}

impl Assignment {
    fn places(&self) -> String {
        let groups = self.group.iter().map(|group| format!("all of {group}"));
        self.dp.iter().cloned().chain(groups).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, clap::Args)]
struct Address {
    /// Bytes per second, such as `500k` or `2M`; as many as the line takes, if nothing is said.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    rate: Option<u64>,
    /// Transfers at the same time, which share the rate.
    #[arg(long, value_name = "COUNT")]
    streams: Option<u32>,
    /// Part of the week and of the rate; later ones count before earlier ones, 0% is closed.
    #[arg(long, value_name = "DAYS HOURS PERCENT")]
    hours: Vec<String>,
    /// Where the child waits to be called, if it cannot call: there, `packhorse site attach --called`.
    #[arg(long, value_name = "HOST:PORT")]
    call: Option<String>,
    /// The zone the hours are lived in, as POSIX writes it; UTC if nothing is said.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

#[derive(clap::Subcommand)]
enum Child {
    /// Add one, and write the token it is enrolled with; that counts once, for a week.
    #[command(
        after_help = "Example:\n  packhorse site child add BERLIN --token-to berlin.token --rate 2M --hours 'mon-fri 8-18 20%'"
    )]
    Add {
        /// Its code.
        code: String,
        /// The new file for the token.
        #[arg(long, value_name = "FILE")]
        token_to: PathBuf,
        #[command(flatten)]
        address: Address,
    },
    /// Write another token; earlier ones count no longer.
    #[command(after_help = "Example:\n  packhorse site child token BERLIN --token-to berlin.token")]
    Token {
        /// Its code.
        code: String,
        /// The new file for the token.
        #[arg(long, value_name = "FILE")]
        token_to: PathBuf,
    },
    /// Say how it may be sent to from now on; transfers under way feel it at once.
    #[command(
        after_help = "Example:\n  packhorse site child address BERLIN --rate 500k --hours 'mon-fri 8-18 0%'"
    )]
    Address {
        /// Its code.
        code: String,
        #[command(flatten)]
        address: Address,
    },
    /// Forget one; its key counts no longer.
    #[command(after_help = "Example:\n  packhorse site child remove BERLIN")]
    Remove {
        /// Its code.
        code: String,
    },
    /// List them.
    #[command(after_help = "Example:\n  packhorse site child list")]
    List,
}

/// A number with `k`, `M` or `G`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'M', 'G']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) if text.ends_with('M') => (digits, 1_000_000),
        Some(digits) => (digits, 1_000_000_000),
        None => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| "write it like `800`, `500k` or `2M`")?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
}

impl Address {
    fn settings(&self) -> AddressSettings {
        let Self { rate, streams, hours, call, zone } = self.clone();
        AddressSettings { rate, streams, hours, call, zone }
    }
}

/// Runs `site`.
pub(crate) fn run(args: &Args) -> ExitCode {
    give(args.json, answer(args))
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        let exit = match &error {
            SiteError::Exists
            | SiteError::Trust(_)
            | SiteError::Location { .. }
            | SiteError::Refused(_)
            | SiteError::Said { conflict: true, .. } => Exit::Decision,
            SiteError::Code(_) | SiteError::Token { .. } | SiteError::Settings { .. } => {
                Exit::Usage
            }
            SiteError::Publish(PublishError::Open { .. } | PublishError::Read { .. }) => {
                Exit::Damaged
            }
            SiteError::InUse { .. } | SiteError::Listen { .. } => Exit::InUse,
            SiteError::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Exit::NoSpace
            }
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

fn done(text: String) -> Answer {
    Answer { exit: Exit::Done, json: json!({ "done": true }), text }
}

fn move_store(folder: &Folder, store: &str) -> Result<Answer, Failure> {
    let moved = ::site::move_store(folder, store)?;
    let ::site::Moved { objects, bytes, already, left } = &moved;
    let left: String = left.iter().map(|line| format!("  left behind: {line}\n")).collect();
    let text = format!(
        "the own copies are elsewhere now: {objects} objects of {bytes} bytes, {already} were there\n{left}"
    );
    let exit = if left.is_empty() { Exit::Done } else { Exit::Leftovers };
    Ok(Answer { exit, json: json!(moved), text })
}

fn init(folder: &Folder, code: Option<&str>, said: SiteSettings) -> Result<Answer, Failure> {
    let code = match code {
        Some(code) => {
            ::site::init_with(folder, code, said)?;
            code.to_owned()
        }
        None => ::site::join(folder, said)?.to_string(),
    };
    Ok(done(format!("{}: site {code}\n", folder.path().display())))
}

fn answer(args: &Args) -> Result<Answer, Failure> {
    let folder = Folder::new(&args.data);
    let client = || Client::local(&folder);
    Ok(match &args.command {
        Command::Migrate { store: Some(store), .. } => move_store(&folder, store)?,
        Command::Migrate { to, store: None } => {
            ::site::migrate(&folder, to.as_deref())?;
            done(match to {
                None => "the tables have the newest schema\n".to_owned(),
                Some(to) if to == "sqlite" => {
                    "the tables are in the site's folder now\n".to_owned()
                }
                Some(_) => "the tables are in the other database now\n".to_owned(),
            })
        }
        Command::Init { code, database, store, cache, cache_size, key_file, .. } => {
            let said = SiteSettings {
                database: database.clone(),
                store: store.clone(),
                cache: cache.clone(),
                cache_size: *cache_size,
                key_file: key_file.clone(),
                ..SiteSettings::default()
            };
            init(&folder, code.as_deref(), said)?
        }
        Command::Serve { listen, link, content, ddi } => {
            let settings = folder.settings()?;
            let api = listen.unwrap_or(settings.listen());
            let (link, content) = (link.or(settings.link), content.or(settings.content));
            let ddi = ddi.or(settings.ddi);
            ::site::serve(folder, Listen { api, link, content, ddi })?;
            done(String::new())
        }
        Command::Attach { parent, called, token } => {
            let way = match (parent, called) {
                (_, Some(place)) => Way::Called(*place),
                (Some(address), None) => Way::Calls(address.clone()),
                (None, None) => Way::Courier,
            };
            let code = ::site::attach(&folder, &way, token)?;
            done(format!("this site is a child of `{code}`\n"))
        }
        Command::Child { command } => child(&folder, command)?,
        Command::Prioritise { package, priority } => {
            client()?.prioritise(package, *priority)?;
            done(format!("`{package}` has priority {priority}\n"))
        }
        Command::Status { watch: true } => watch(&folder)?,
        Command::Status { watch: false } => status(current(&folder)?),
        Command::Verify => status(client()?.verify()?),
        Command::Check => {
            let wrong = ::site::check(&folder)?;
            let text: String = match wrong.as_slice() {
                [] => "nothing is wrong\n".to_owned(),
                wrong => wrong.iter().map(|line| format!("{line}\n")).collect(),
            };
            let exit = if wrong.is_empty() { Exit::Done } else { Exit::Damaged };
            Answer { exit, text, json: json!({ "wrong": wrong }) }
        }
        Command::Backup { to } => {
            ::site::backup(&folder, to)?;
            done(format!("{}: the site's tables\n", to.display()))
        }
        Command::Restore { from } => {
            let epoch = ::site::restore(&folder, from)?;
            let text =
                format!("the tables of `{}` are in place, epoch {epoch} begins\n", from.display());
            Answer { exit: Exit::Done, text, json: json!({ "epoch": epoch }) }
        }
        Command::Publish { package, replace, keys, role } => {
            publish(&folder, package, *replace, keys, role.as_deref())?
        }
        Command::Pin { root, replace } => pin(&folder, root, *replace)?,
        Command::Retire { package } => {
            client()?.retire(package)?;
            done(format!("`{package}` is being removed everywhere\n"))
        }
        Command::Assign(told @ Assignment { package, dp, group }) => {
            client()?.assign_with_groups(package, dp, group, true)?;
            done(format!("`{package}` is to be at {}\n", told.places()))
        }
        Command::Unassign(told @ Assignment { package, dp, group }) => {
            client()?.assign_with_groups(package, dp, group, false)?;
            done(format!("`{package}` is to be no longer at {}\n", told.places()))
        }
        Command::Retry { dp, package } => {
            client()?.retry(dp.as_deref(), package.as_ref())?;
            done("tried again now\n".to_owned())
        }
        Command::Courier { command } => trips(match command {
            Courier::Export { to, child } => client()?.courier_export(to, child)?,
            Courier::Import { from } => client()?.courier_import(from)?,
        }),
        Command::Client { command } => clients::client(&folder, command)?,
        Command::Deploy(args) => clients::deploy(&folder, args)?,
        Command::Deployment { command } => clients::deployment(&folder, command)?,
        Command::Collection { command } => clients::collection(&folder, command)?,
        Command::Window { command } => windows::window(&folder, command)?,
        Command::Dp { command } => points::run(&folder, command)?,
    })
}

fn trips(trips: Vec<Trip>) -> Answer {
    let lines = trips.iter().map(|trip| {
        let Trip { child, way, packages, objects, bytes, already, left } = trip;
        let left: String = left.iter().map(|line| format!("  left out: {line}\n")).collect();
        format!(
            "{child}, {way}: {packages} packages, {objects} objects of {bytes} bytes, {already} were there\n{left}"
        )
    });
    let text =
        if trips.is_empty() { "nothing for this site\n".to_owned() } else { lines.collect() };
    let exit = match trips.as_slice() {
        [] => Exit::Nothing,
        trips if trips.iter().any(|trip| !trip.left.is_empty()) => Exit::Leftovers,
        _ => Exit::Done,
    };
    Answer { exit, json: json!(trips), text }
}

fn child(folder: &Folder, command: &Child) -> Result<Answer, SiteError> {
    let client = Client::local(folder);
    Ok(match command {
        Child::Add { code, token_to, address } => {
            let client = client?;
            let mut file = new_file(token_to)?;
            let written = client
                .add_child(code, address.settings())
                .and_then(|token| write_token(&mut file, token_to, &token));
            if let Err(error) = written {
                let _ = std::fs::remove_file(token_to);
                return Err(error);
            }
            token_answer(code, token_to)
        }
        Child::Token { code, token_to } => {
            let client = client?;
            let mut file = new_file(token_to)?;
            let written =
                client.token(code).and_then(|token| write_token(&mut file, token_to, &token));
            if let Err(error) = written {
                let _ = std::fs::remove_file(token_to);
                return Err(error);
            }
            token_answer(code, token_to)
        }
        Child::Address { code, address } => {
            client?.set_address(code, &address.settings())?;
            done(format!("{code} is sent to like that from now on\n"))
        }
        Child::Remove { code } => {
            client?.remove_child(code)?;
            done(format!("{code} is no child of this site any more\n"))
        }
        Child::List => {
            let children = current(folder)?.children;
            let text = children.iter().map(|child| format!("{}\n", child.code));
            Answer { exit: Exit::Done, text: text.collect(), json: json!(children) }
        }
    })
}

/// A file nobody else may read, which was not there before.
fn new_file(path: &Path) -> Result<File, SiteError> {
    let open = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    open.map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: std::io::Error) -> SiteError {
    SiteError::File { doing: "writing", path: path.to_owned(), source }
}

fn write_token(file: &mut File, path: &Path, token: &Token) -> Result<(), SiteError> {
    let text = serde_json::to_vec_pretty(token).unwrap_or_default();
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(|source| cannot_write(path, source))
}

fn token_answer(code: &str, path: &Path) -> Answer {
    let text = format!(
        "{0}: the token of {code}; take it there and `packhorse site attach --token {0}`, with `--parent ADDRESS` if it calls, `--called ADDRESS` if it is called\n",
        path.display()
    );
    Answer { exit: Exit::Done, json: json!({ "token": path }), text }
}

/// What the site says of itself; if it does not run, what its tables say.
fn current(folder: &Folder) -> Result<Status, SiteError> {
    match Client::local(folder).and_then(|client| client.status()) {
        Err(SiteError::Said { .. } | SiteError::NoAnswer { .. }) => folder.status(),
        result => result,
    }
}

/// Shows how it goes until everything is where it should be: in place on a terminal, each change below the other elsewhere.
fn watch(folder: &Folder) -> Result<Answer, SiteError> {
    let mut output = std::io::stdout();
    let is_terminal = output.is_terminal();
    let mut shown = String::new();
    loop {
        let now = current(folder)?;
        if now.is_settled() {
            return Ok(status(now));
        }
        let text = now.to_text();
        if text != shown {
            let clear = if is_terminal { "\x1b[H\x1b[J" } else { "" };
            let written = write!(output, "{clear}{text}").and_then(|()| output.flush());
            // Nobody watches any longer.
            if written.is_err() {
                return Ok(status(now));
            }
            shown = text;
        }
        std::thread::park_timeout(std::time::Duration::from_secs(1));
    }
}

fn status(status: Status) -> Answer {
    let exit = if status.is_settled() { Exit::Done } else { Exit::Leftovers };
    Answer { exit, text: status.to_text(), json: json!(status) }
}

fn publish(
    folder: &Folder,
    package: &Path,
    replace: bool,
    keys: &trust::Keys,
    role: Option<&str>,
) -> Result<Answer, Failure> {
    let signed = signed(folder, package, replace, keys, role)?;
    let is_new = signed.as_ref().is_some_and(|published| !published.already);
    let new = Client::local(folder)?.publish(package, replace)? || is_new;
    let mut text = if new { "published\n" } else { "it was there already\n" }.to_owned();
    let signed = signed.and_then(|published| published.signed);
    text += &signed.as_ref().map(crate::store::signed_text).unwrap_or_default();
    let exit = if new { Exit::Done } else { Exit::Nothing };
    let signed = signed.map(|one| json!({ "role": one.role, "visible": one.switched }));
    Ok(Answer { exit, text, json: json!({ "new": new, "signed": signed }) })
}

fn pin(folder: &Folder, root: &Path, replace: bool) -> Result<Answer, SiteError> {
    let bytes = std::fs::read(root).map_err(|source| SiteError::File {
        doing: "reading",
        path: root.to_owned(),
        source,
    })?;
    ::site::pin(folder, &bytes, replace)?;
    Ok(done(format!("`{}` is pinned: what comes from above has to be signed\n", root.display())))
}

/// Signs a release in the site's own store before the site hears of it: keys stay where they are.
fn signed(
    folder: &Folder,
    package: &Path,
    replace: bool,
    keys: &trust::Keys,
    role: Option<&str>,
) -> Result<Option<::store::Published>, Failure> {
    if keys.is_empty() {
        return Ok(None);
    }
    let signing = ::store::Signing {
        root: folder.root(false)?,
        role: role.unwrap_or("targets").to_owned(),
        keys: keys.read()?,
        now: trust::now(),
        lifetimes: ::trust::Lifetimes::default(),
    };
    let signing = Some(std::sync::Arc::new(signing));
    let options =
        ::store::PublishOptions { replace, signing, ..::store::PublishOptions::default() };
    let store = folder.own_store()?;
    Ok(Some(::store::publish(&store, package, &options, &mut |_, _, _| {})?))
}
