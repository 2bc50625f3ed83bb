//! An installer of 32 bits, on a machine that runs both: this one with the other Wine beside, in an overlay, so that
//! nothing of it stays here.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::command::{command, output};

/// The installer.
pub(super) const NAME: &str = "thirty-two";
/// Its script: what 32-bit programs see is elsewhere in files and registry.
pub(super) const SCRIPT: &str = include_str!("../../windows/thirty-two.nsi");
/// Makes the machine below the folder `$1`, and runs there what follows.
const ENTER: &str = r#"set -e
root=$1/merged; scratch=$1; shift
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
inside() { chroot "$root" "$@"; }
inside dpkg --add-architecture i386 >&2
# An index that cannot be had may not be needed: what is missing is said when it is installed.
inside apt-get -qq update >&2 || :
DEBIAN_FRONTEND=noninteractive inside apt-get -qq -y --no-install-recommends install wine32:i386 >&2
inside "$@""#;

/// The line of the table, from a proof that runs on such a machine.
pub(super) fn prove(folder: &Path, kills: u32) -> Result<String> {
    let scratch = folder.join("both");
    for name in ["upper", "work", "merged"] {
        fs::create_dir_all(scratch.join(name))?;
    }
    let ours = std::env::current_exe()?;
    let mut enter =
        command("unshare", ["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
    enter.arg(&scratch).arg(ours).args(["prove", "windows", "--no-build", "--inside"]);
    enter.args(["--only", NAME, "--kills", &kills.to_string()]);
    let said = output(&mut enter)?;
    let line = said.lines().find(|line| line.starts_with('|'));
    Ok(line.with_context(|| format!("no line of the table in\n{said}"))?.to_owned())
}
