//! Changing the configuration file. What people wrote into it (comments, order, other profiles) stays as it is; the new file appears whole
//! under its name or not at all, and only its owner may read it.

use crate::failure::{Exit, Failure};
use crate::profile::{ConfigFile, NewProfile};
use cairn_common::seam::{OsRandom, Random as _};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// The file while it is being changed. Locked against others that change it.
pub(crate) struct Editing {
    path: PathBuf,
    folder: PathBuf,
    document: DocumentMut,
    /// `None`: nothing is written.
    lock: Option<File>,
}

impl Editing {
    /// Opens the file at `path`; one that is not there is empty. Makes its folder, and waits while another process changes the file; with
    /// `dry_run` neither, and nothing is ever written.
    pub(crate) fn open(path: &Path, dry_run: bool) -> Result<Editing, Failure> {
        let local = |error: &io::Error| Failure::local(path, "change the configuration", error);
        // Where people link it to, not the link, is replaced.
        let path = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            found => found.map_err(|error| local(&error))?,
        };
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let lock = if dry_run { None } else { Some(lock(&folder).map_err(|error| local(&error))?) };
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| local(&error))?,
        };
        // Its errors quote no line: there may be a secret in it.
        ConfigFile::parse(&text).map_err(|failure| failure.at(path.display()))?;
        let document = text.parse().map_err(|_| Failure::new(Exit::Usage, "it is not TOML").at(path.display()))?;
        Ok(Editing { path, folder, document, lock })
    }

    /// The file as it would be now.
    pub(crate) fn config(&self) -> Result<ConfigFile, Failure> {
        ConfigFile::parse(&self.document.to_string()).map_err(|failure| failure.at(self.path.display()))
    }

    /// Writes a profile, instead of one that has its name.
    pub(crate) fn put(&mut self, name: &str, profile: &NewProfile) {
        let mut table = Table::new();
        if !profile.masters.is_empty() {
            table["masters"] = value(profile.masters.iter().collect::<Array>());
        }
        let texts = [
            ("endpoint", &profile.endpoint),
            ("s3_endpoint", &profile.s3_endpoint),
            ("ca_file", &profile.ca_file),
            ("credential_command", &profile.credential_command),
        ];
        for (key, text) in texts {
            text.iter().for_each(|text| table[key] = value(text));
        }
        if let Some((access, secret)) = &profile.key {
            table["access_key"] = value(access);
            table["secret_key"] = value(secret);
        }
        let profiles = self.document.entry("profile").or_insert_with(|| {
            let mut profiles = Table::new();
            profiles.set_implicit(true);
            Item::Table(profiles)
        });
        profiles[name] = Item::Table(table);
    }

    /// Takes a profile away, and the choice of it.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(profiles) = self.document.get_mut("profile").and_then(Item::as_table_like_mut) {
            profiles.remove(name);
        }
        if self.document.get("current").and_then(Item::as_str) == Some(name) {
            self.document.remove("current");
        }
    }

    /// Makes a profile the current one.
    pub(crate) fn make_current(&mut self, name: &str) {
        self.document["current"] = value(name);
    }

    /// `Ok`: the file is as it was changed, durable. `Err`: it is as it was.
    pub(crate) fn save(self) -> Result<(), Failure> {
        self.config()?;
        if self.lock.is_none() {
            return Ok(());
        }
        let temporary = self.folder.join(format!(".config.toml.{:016x}", OsRandom.number()));
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(self.document.to_string().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &self.path)?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|error| {
            // It may not be there; and it holds what the next try writes again.
            let _ = std::fs::remove_file(&temporary);
            Failure::local(&self.path, "write the configuration", &error)
        })
    }
}

/// Makes the folder, and locks it until the file that is returned is closed.
fn lock(folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let opened = File::open(folder)?;
    rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const BEFORE: &str = "# mine\n\n[profile.home] # at home\nmasters = [ \"http://h:1\" ]\n\n# the office\n[profile.work]\nendpoint = \"http://w:2\"\n";

    fn profile() -> NewProfile {
        NewProfile {
            masters: vec!["http://n:1".to_owned(), "http://n:2".to_owned()],
            key: Some(("AK".to_owned(), "a \"secret\"".to_owned())),
            ..NewProfile::default()
        }
    }

    fn edit(path: &Path, change: impl Fn(&mut Editing)) -> String {
        let mut editing = Editing::open(path, false).unwrap();
        change(&mut editing);
        editing.save().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_people_wrote_stays_around_what_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, BEFORE).unwrap();
        let added = edit(&path, |editing| editing.put("new", &profile()));
        assert!(added.starts_with(BEFORE), "{added}");
        assert!(
            added.contains("[profile.new]\nmasters = [\"http://n:1\", \"http://n:2\"]\naccess_key = \"AK\""),
            "{added}"
        );
        let chosen = edit(&path, |editing| editing.make_current("new"));
        assert!(chosen.contains("current = \"new\"\n") && chosen.contains("# mine\n"), "{chosen}");
        let removed = edit(&path, |editing| editing.remove("new"));
        assert!(!removed.contains("new") && !removed.contains("secret"), "{removed}");
        for line in BEFORE.lines() {
            assert!(removed.contains(line), "{line} is gone from {removed}");
        }
    }

    #[test]
    fn the_file_is_made_for_its_owner_alone_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cairn/config.toml");
        edit(&path, |editing| editing.put("new", &profile()));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        edit(&path, |editing| editing.make_current("new"));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(ConfigFile::read(&path).unwrap().named("new").unwrap().masters.len(), 2);
    }

    #[test]
    fn a_dry_run_makes_neither_file_nor_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cairn/config.toml");
        let mut editing = Editing::open(&path, true).unwrap();
        editing.put("new", &profile());
        editing.save().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_to_the_file_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("config.toml"));
        std::fs::write(&real, BEFORE).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        edit(&link, |editing| editing.make_current("work"));
        assert!(link.is_symlink() && std::fs::read_to_string(&real).unwrap().contains("current"));
    }

    #[test]
    fn a_file_that_is_wrong_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for wrong in ["[profile.a]\nsecret_kee = \"hunter2\"", "[profile.a"] {
            std::fs::write(&path, wrong).unwrap();
            let failure = Editing::open(&path, false).err().unwrap();
            assert!(failure.exit == Exit::Usage && !failure.message.contains("hunter2"), "{failure}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
        }
    }
}
