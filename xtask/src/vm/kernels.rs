//! Debian's cloud kernels: found by apt with a state of its own, so that nothing of the system
//! changes, and kept unpacked below the target directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{paths, run};

/// The kernel that is asked for as the newest in the archive.
pub(crate) const NEWEST: &str = "newest";

/// Kernels that are tried unless others are named, and the suites that have them.
const KERNELS: [(&str, &[&str]); 4] = [
    ("5.10", &["bullseye"]),
    ("6.1", &["bookworm"]),
    ("6.12", &["trixie", "bookworm-backports"]),
    (NEWEST, &["sid", "trixie-backports"]),
];

/// Modules that tests need; cloud kernels have the rest of what they need built in. One that a
/// kernel has built in, or lacks, is no file and passed over.
const MODULES: [&str; 13] = [
    // The wire between near and far.
    "veth",
    "dummy",
    "tun",
    // Sockets by netlink.
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "mptcp_diag",
    "unix_diag",
    // Families of sockets that a workload may try.
    "vsock_loopback",
    "algif_hash",
    "algif_skcipher",
    "sctp",
    "tls",
];

/// What apt trusts Debian's archive by, wherever Debian's own packages are installed.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel, ready to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// As it was asked for: `6.1`, `newest`.
    pub(crate) name: String,
    /// As its package calls it: `6.1.0-50-cloud-amd64`.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// In the order in which they load.
    pub(crate) modules: Vec<PathBuf>,
}

/// Names of the kernels that are tried unless others are named.
pub(crate) fn names() -> Vec<String> {
    KERNELS.map(|(name, _)| name.to_owned()).to_vec()
}

/// A kernel by the first two numbers of its version, or [`NEWEST`]: the one that was unpacked
/// before, unless `refresh`, else the newest of its packages.
///
/// # Errors
///
/// The machine's apt knows no mirror of Debian, the mirror has no such kernel, or it cannot be
/// fetched.
pub(crate) fn obtain(name: &str, refresh: bool) -> Result<Kernel> {
    let home = home().join("kernels").join(name);
    if !home.join("release").exists() || refresh {
        fetch(name, &home).with_context(|| format!("no kernel {name}"))?;
    }
    let mut modules: Vec<PathBuf> = fs::read_dir(home.join("modules"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    modules.sort();
    Ok(Kernel {
        name: name.to_owned(),
        release: fs::read_to_string(home.join("release"))?,
        image: home.join("vmlinuz"),
        modules,
    })
}

/// Where this subcommand keeps what it fetches and makes.
pub(crate) fn home() -> PathBuf {
    paths::target().join("vm")
}

/// Downloads and unpacks into `home`, which appears whole or not at all.
fn fetch(name: &str, home: &Path) -> Result<()> {
    let apt = Apt::new(name)?;
    let package = apt.newest_package(name)?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    println!("vm: kernel {name}: fetching {package}");
    let part = home.with_extension("part");
    clear(&part)?;
    let tree = part.join("tree");
    fs::create_dir_all(&tree)?;
    apt.download(&package, &part)?;
    for archive in files_below(&part)? {
        run::capture(Command::new("dpkg").arg("-x").arg(archive).arg(&tree))?;
    }
    let files = files_below(&tree)?;
    let image = files
        .iter()
        .find(|path| file_name(path).starts_with("vmlinuz"))
        .with_context(|| format!("{package} has no vmlinuz"))?;
    fs::rename(image, part.join("vmlinuz"))?;
    unpack_modules(&files, &part.join("modules"))?;
    fs::remove_dir_all(&tree)?;
    for archive in files_below(&part)? {
        if archive.extension().is_some_and(|it| it == "deb") {
            fs::remove_file(archive)?;
        }
    }
    fs::write(part.join("release"), &release)?;
    clear(home)?;
    fs::rename(&part, home)?;
    Ok(())
}

/// Puts the modules that tests need, and those that they need, into `to`: the first is the first
/// to be loaded.
fn unpack_modules(files: &[PathBuf], to: &Path) -> Result<()> {
    let available: BTreeMap<String, &PathBuf> = files
        .iter()
        .filter_map(|path| Some((module_name(&file_name(path))?, path)))
        .collect();
    let mut order = Vec::new();
    for name in MODULES {
        place(name, &available, &mut BTreeSet::new(), &mut order)?;
    }
    fs::create_dir_all(to)?;
    for (number, (name, bytes)) in order.iter().enumerate() {
        fs::write(to.join(format!("{number:03}-{name}.ko")), bytes)?;
    }
    Ok(())
}

/// Adds a module to `order`, after what it depends on.
fn place(
    name: &str,
    available: &BTreeMap<String, &PathBuf>,
    on_the_way: &mut BTreeSet<String>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(path) = available.get(&name) else {
        return Ok(());
    };
    if order.iter().any(|(placed, _)| *placed == name) || !on_the_way.insert(name.clone()) {
        return Ok(());
    }
    let bytes = if path.extension().is_some_and(|it| it == "xz") {
        let mut xz = Command::new("xz");
        xz.arg("--decompress").arg("--stdout").arg(path);
        xz.stderr(Stdio::inherit()).output().context("xz")?.stdout
    } else {
        fs::read(path)?
    };
    for dependency in dependencies(&bytes) {
        place(&dependency, available, on_the_way, order)?;
    }
    order.push((name, bytes));
    Ok(())
}

/// What a module says in its section `.modinfo` that it depends on.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|it| it == FIELD) else {
        return Vec::new();
    };
    let value = module[at + FIELD.len()..].split(|byte| *byte == 0).next();
    String::from_utf8_lossy(value.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The module in a file of this name.
fn module_name(file: &str) -> Option<String> {
    let stem = file.strip_suffix(".xz").unwrap_or(file);
    Some(stem.strip_suffix(".ko")?.replace('-', "_"))
}

/// apt with lists and a cache of its own, of the suites that have one kernel.
struct Apt {
    home: PathBuf,
}

impl Apt {
    fn new(kernel: &str) -> Result<Self> {
        let home = home().join("apt").join(kernel);
        clear(&home)?;
        fs::create_dir_all(home.join("lists/partial"))?;
        fs::create_dir_all(home.join("cache/archives/partial"))?;
        let apt = Self { home };
        let options = if Path::new(KEYRING).exists() {
            format!("target=Packages signed-by={KEYRING}")
        } else {
            "target=Packages".to_owned()
        };
        let sources: Vec<String> = suites(kernel)
            .iter()
            .flat_map(|suite| mirrors().into_iter().map(move |mirror| (mirror, suite)))
            .map(|(mirror, suite)| format!("deb [{options}] {mirror} {suite} main\n"))
            .collect();
        if sources.is_empty() {
            bail!("the apt sources of this machine name no mirror of Debian");
        }
        fs::write(apt.home.join("sources.list"), sources.concat())?;
        // A suite that the mirror no longer has leaves the others; what is missing shows below.
        if let Err(error) = run::capture(apt.command("apt-get").arg("update")) {
            println!("vm: kernel {kernel}: {error:#}");
        }
        Ok(apt)
    }

    /// The package of the newest kernel of that name.
    fn newest_package(&self, name: &str) -> Result<String> {
        let listed = run::capture(self.command("apt-cache").args(["pkgnames", "linux-image-"]))?;
        listed
            .lines()
            .filter_map(|package| Some((version(package)?, package)))
            .filter(|(version, _)| name == NEWEST || series(version) == name)
            .max()
            .map(|(_, package)| package.to_owned())
            .with_context(|| {
                format!(
                    "the suites {} have none (linux-image-{name}*-cloud-amd64)",
                    suites(name).join(", ")
                )
            })
    }

    /// Downloads a kernel's package, and those of its parts where it is split up.
    fn download(&self, package: &str, to: &Path) -> Result<()> {
        let depends = run::capture(self.command("apt-cache").args(["depends", package]))?;
        let parts = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|it| it.starts_with("linux-modules-") || it.starts_with("linux-binary-"));
        run::capture(
            self.command("apt-get")
                .arg("download")
                .arg(package)
                .args(parts)
                .current_dir(to),
        )?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.home.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State={}", at("")),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            // `_apt` may not write where this user may.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Suites that have a kernel of that name; all of them if it is none of the usual ones.
fn suites(kernel: &str) -> Vec<&'static str> {
    KERNELS
        .iter()
        .filter(|(name, _)| *name == kernel || KERNELS.iter().all(|(usual, _)| *usual != kernel))
        .flat_map(|(_, suites)| suites.iter().copied())
        .collect()
}

/// Where this machine gets Debian's packages from.
fn mirrors() -> BTreeSet<String> {
    let format = ["indextargets", "--format", "$(REPO_URI)"];
    let listed = run::capture(Command::new("apt-get").args(format)).unwrap_or_default();
    listed
        .lines()
        .map(|uri| uri.trim().trim_end_matches('/'))
        // By convention; the security archive and other vendors are called otherwise.
        .filter(|uri| uri.ends_with("/debian"))
        .map(str::to_owned)
        .collect()
}

/// The numbers in the name of a cloud kernel's package, such as 6, 1, 0, 50.
fn version(package: &str) -> Option<Vec<u32>> {
    package
        .strip_prefix("linux-image-")?
        .strip_suffix("-cloud-amd64")?
        .split('+')
        .next()?
        .split(['.', '-'])
        .map(|number| number.parse().ok())
        .collect()
}

/// The first two of them, with a dot.
fn series(version: &[u32]) -> String {
    let numbers: Vec<String> = version.iter().take(2).map(u32::to_string).collect();
    numbers.join(".")
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Removes a directory, if there is one.
fn clear(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |name: &str| version(&format!("linux-image-{name}"));
        assert_eq!(version("6.1.0-50-cloud-amd64"), Some(vec![6, 1, 0, 50]));
        assert!(version("6.12.117+deb13-cloud-amd64") > version("6.12.95+deb12-cloud-amd64"));
        assert!(version("7.3.4+deb13-cloud-amd64") > version("6.19.14+deb13-cloud-amd64"));
        assert_eq!(version("6.1.0-50-cloud-amd64-dbg"), None);
        assert_eq!(version("6.1.0-50-amd64"), None);
        assert_eq!(version("cloud-amd64"), None);
        assert_eq!(series(&[6, 12, 117]), "6.12");
    }

    #[test]
    fn modules_come_after_what_they_depend_on() -> Result<()> {
        let directory = std::env::temp_dir().join(format!("hoop-modules-{}", std::process::id()));
        clear(&directory)?;
        fs::create_dir_all(&directory)?;
        for (name, depends) in [("tcp_diag", "inet-diag"), ("inet_diag", "")] {
            let text = format!("ELF\0name={name}\0depends={depends}\0retpoline=Y\0");
            fs::write(directory.join(format!("{name}.ko")), text)?;
        }
        unpack_modules(&files_below(&directory)?, &directory.join("modules"))?;
        let mut placed: Vec<String> = files_below(&directory.join("modules"))?
            .iter()
            .map(|path| file_name(path))
            .collect();
        placed.sort();
        clear(&directory)?;
        assert_eq!(placed, ["000-inet_diag.ko", "001-tcp_diag.ko"]);
        Ok(())
    }
}
