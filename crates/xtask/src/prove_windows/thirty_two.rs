//! An installer of 32 bits, on a machine that runs both: a Debian of its own with both Wines, because on this one a
//! package of the other architecture has to be of the very version this one's is.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::NEEDS;
use crate::{
    command::{command, output},
    debian,
    prove::{self, roots::Workshop},
    workspace,
};

/// The installer.
pub(super) const NAME: &str = "thirty-two";
/// Its script: what 32-bit programs see is elsewhere in files and registry.
pub(super) const SCRIPT: &str = include_str!("../../windows/thirty-two.nsi");
/// Enters the machine `$1` with changes that stay below `$2`, the folders `$3` and `$4` seen in it, and runs there what follows.
const ENTER: &str = r#"set -e
base=$1 scratch=$2 workspace=$3 target=$4; shift 4
root=$scratch/merged
mount -t overlay overlay -o "lowerdir=$base,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
for folder in /proc /sys /dev "$workspace" "$target"; do
    mkdir -p "$root$folder"
    mount --rbind "$folder" "$root$folder"
done
exec chroot "$root" "$@""#;

/// The line of the table, from a proof that runs on such a machine.
pub(super) fn prove(folder: &Path, kills: u32) -> Result<String> {
    debian::ensure(&prove::NEEDS)?;
    let packages = NEEDS.map(|(_, package)| package).join(" ");
    // The release alone, without its updates: what both architectures share has one version then.
    let script = format!(
        "dpkg --add-architecture i386\nsed -i '/-updates\\|-security/d' /etc/apt/sources.list\napt-get -qq update\n\
         apt-get -qq -y --no-install-recommends install wine32:i386 {packages}"
    );
    let machine = Workshop::open()?.prepared("both", &script)?;
    let scratch = folder.join("both");
    for name in ["upper", "work", "merged"] {
        fs::create_dir_all(scratch.join(name))?;
    }
    let ours = std::env::current_exe()?;
    let mut enter =
        command("unshare", ["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
    enter.arg(&machine).arg(&scratch).args([workspace::root(), workspace::target()]);
    enter.arg(ours).args(["prove", "windows", "--no-build", "--inside"]);
    enter.args(["--only", NAME, "--kills", &kills.to_string()]);
    let said = output(&mut enter)?;
    let line = said.lines().find(|line| line.starts_with('|'));
    Ok(line.with_context(|| format!("no line of the table in\n{said}"))?.to_owned())
}
