//! Installs Debian packages, as root or through sudo.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{paths, run};

/// Installs `packages` without what they merely recommend.
///
/// # Errors
///
/// There is no apt here, no right to use it, or it failed; the message has what apt said.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if paths::find("apt-get").is_none() {
        bail!("needs {list} (names of Debian packages), and there is no apt-get to install them");
    }
    let install = || {
        let mut apt = apt_get()?;
        apt.args(["install", "--yes", "--no-install-recommends"])
            .args(packages);
        run::capture(&mut apt).with_context(|| format!("cannot install {list}"))
    };
    // A machine that never updated its lists, or long ago, does not know where the packages are.
    if install().is_err() {
        run::capture(apt_get()?.arg("update"))?;
        install()?;
    }
    Ok(())
}

fn apt_get() -> Result<Command> {
    let mut command = run::as_root()?;
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"])
        // Another apt may be at work, as on a machine that has just started.
        .args(["-o", "DPkg::Lock::Timeout=120"]);
    Ok(command)
}
