//! Folders of the simulated disk: which names there are, and which would be there after a power cut.

use super::super::SeededRandom;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

/// All names, as processes see them and as the disk has them. A change is durable when every folder it touches was synced
/// since; changes of different folders do not carry each other, which is less than most file systems do.
#[derive(Clone, Debug)]
pub(super) struct Names {
    visible: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<(Change, Vec<PathBuf>)>,
}

impl Names {
    pub(super) fn new() -> Names {
        let root: BTreeMap<_, _> = [(PathBuf::from("/"), Node::Folder)].into();
        Names { visible: root.clone(), durable: root, pending: Vec::new() }
    }

    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.visible.get(path).copied()
    }

    /// Names directly in a folder, sorted.
    pub(super) fn list(&self, folder: &Path) -> Vec<String> {
        let inside = self.visible.keys().filter(|path| path.parent() == Some(folder));
        inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    pub(super) fn link(&mut self, path: &Path, node: Node) {
        self.visible.insert(path.to_owned(), node);
        self.pending.push((Change::Link(path.to_owned(), node), folders([path])));
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        self.visible.remove(path);
        self.pending.push((Change::Unlink(path.to_owned()), folders([path])));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        let Some(node) = self.visible.remove(from) else { return };
        self.visible.insert(to.to_owned(), node);
        let change = Change::Rename { from: from.to_owned(), to: to.to_owned(), node };
        self.pending.push((change, folders([from, to])));
    }

    /// Makes the changes of a folder durable.
    pub(super) fn sync(&mut self, folder: &Path) {
        for (_, waiting_for) in &mut self.pending {
            waiting_for.retain(|waiting| waiting != folder);
        }
        let (done, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|(_, folders)| folders.is_empty());
        self.pending = pending;
        let done: Vec<(Change, Vec<PathBuf>)> = done;
        done.into_iter().for_each(|(change, _)| self.apply(change));
    }

    /// Each pending change becomes durable or not, by chance.
    pub(super) fn sync_some(&mut self, random: &SeededRandom) {
        for (change, _) in std::mem::take(&mut self.pending) {
            if random.coin() {
                self.apply(change);
            }
        }
    }

    /// Everything that processes see becomes durable, as if they had died and the machine had not.
    pub(super) fn keep_all(&mut self) {
        self.pending.clear();
        self.durable = self.visible.clone();
    }

    /// What was not durable is gone; so is what lies in folders that are gone.
    pub(super) fn crash(&mut self) {
        self.pending.clear();
        let folders: Vec<PathBuf> =
            self.durable.iter().filter(|(_, node)| **node == Node::Folder).map(|(path, _)| path.clone()).collect();
        self.durable
            .retain(|path, _| path.ancestors().skip(1).all(|above| folders.iter().any(|folder| folder == above)));
        self.visible = self.durable.clone();
    }

    /// Files that a process could open, now or after a crash.
    pub(super) fn files(&self) -> Vec<u64> {
        let nodes = self.visible.values().chain(self.durable.values());
        let mut files: Vec<u64> =
            nodes.filter_map(|node| if let Node::File(file) = node { Some(*file) } else { None }).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Link(path, node) => {
                self.durable.insert(path, node);
            }
            Change::Unlink(path) => {
                self.durable.remove(&path);
            }
            Change::Rename { from, to, node } => {
                self.durable.remove(&from);
                self.durable.insert(to, node);
            }
        }
    }
}

/// The folders that hold these names, each once.
fn folders<const N: usize>(paths: [&Path; N]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = paths.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
    folders.dedup();
    folders
}
