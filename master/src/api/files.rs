//! Answers about files: the state's answer, and tokens to read with.

use super::access::Who;
use crate::query::{self, FileBytes, OpenedFile, Page, PageLimits, Stretch};
use crate::server::MasterServer;
use cairn_common::auth::{OpenTicket, ReadToken};
use cairn_common::file::Condition;
use cairn_common::ids::NodeId;
use cairn_common::limits::{OPEN_TICKET_TTL_MS, PAGE_ENTRIES_MAX, PAGE_NODES_MAX, READ_TOKEN_TTL_MS};
use cairn_common::manifest::Extent;
use cairn_common::name::FilePath;
use cairn_common::version::VersionId;
use cairn_common::wire::command::Rights;
use cairn_common::wire::master::{
    Content, Found, ManifestPage, MasterError, MasterReply, Opened, PlacedEntry, RangeWanted, WhereEntry, WherePage,
};

/// Entries of an answer about where a file is.
const WHERE_ENTRIES_MAX: usize = 1000;
const PAGE: PageLimits = PageLimits { entries: PAGE_ENTRIES_MAX, nodes: PAGE_NODES_MAX };

impl MasterServer {
    pub(super) fn open(
        &self,
        file: (&FilePath, Option<VersionId>),
        condition: &Condition,
        range: RangeWanted,
    ) -> Result<MasterReply, MasterError> {
        let members = self.members()?;
        let opened = match self.look(|view| query::open(view, &members, file, condition, range, PAGE))? {
            Found::NotModified(info) => return Ok(MasterReply::Opened(Box::new(Found::NotModified(info)))),
            Found::Here(opened) => opened,
        };
        let OpenedFile { info, range, bytes } = opened;
        let content = match bytes {
            FileBytes::Inline { bytes, hash } => Content::Inline { bytes, hash },
            FileBytes::Unsatisfiable => Content::Unsatisfiable,
            FileBytes::Chunks { manifest, domain, head, page } => {
                let expires_ms = self.clock.wall_ms() + OPEN_TICKET_TTL_MS;
                let ticket = self.keyring.ticket(manifest, domain, expires_ms);
                Content::Chunks { ticket, head, page: self.with_tokens(page) }
            }
        };
        Ok(MasterReply::Opened(Box::new(Found::Here(Opened { info, range, content }))))
    }

    pub(super) fn page(&self, ticket: &OpenTicket, offset: u64, end: u64) -> Result<MasterReply, MasterError> {
        self.check_ticket(ticket)?;
        let members = self.members()?;
        let page = self.look(|view| query::page(view, &members, ticket.manifest, offset, end, PAGE))?;
        Ok(MasterReply::Page(self.with_tokens(page)))
    }

    pub(super) fn read_tokens(&self, ticket: &OpenTicket, offset: u64) -> Result<MasterReply, MasterError> {
        self.check_ticket(ticket)?;
        let members = self.members()?;
        let every = PageLimits { entries: 1, nodes: usize::MAX };
        let page = self.look(|view| query::page(view, &members, ticket.manifest, offset, offset + 1, every))?;
        let page = self.with_tokens(page);
        Ok(MasterReply::ReadTokens(page.entries.into_iter().next().map(|entry| entry.replicas).unwrap_or_default()))
    }

    pub(super) fn where_is(&self, path: &FilePath, offset: u64) -> Result<MasterReply, MasterError> {
        let members = self.members()?;
        let limits = PageLimits { entries: WHERE_ENTRIES_MAX, nodes: usize::MAX };
        let file = self.look(|view| query::where_is(view, &members, path, offset, limits))?;
        let expires_ms = self.clock.wall_ms() + READ_TOKEN_TTL_MS;
        let entries = file.stretches.into_iter().map(|stretch| WhereEntry {
            offset: stretch.offset,
            tokens: self.tokens(&stretch.entry.extent, stretch.nodes, expires_ms),
            entry: stretch.entry,
            owners: stretch.owners,
            misplaced: stretch.misplaced,
        });
        Ok(MasterReply::Where(WherePage {
            info: file.info,
            replicas: file.replicas,
            entries: entries.collect(),
            more: file.more,
            inline: file.manifest.is_none(),
            manifest: file.manifest,
        }))
    }

    pub(super) fn buckets(&self, who: &Who) -> Result<MasterReply, MasterError> {
        let Who::Key(key) = who else { return Err(MasterError::Denied) };
        let members = self.members()?;
        let mut buckets = self.look(|view| query::buckets(view, &members, key.tenant))?;
        let any = |rights: &Rights| *rights != Rights::default();
        buckets.retain(|bucket| {
            key.grants
                .iter()
                .any(|grant| grant.bucket.as_ref().is_none_or(|name| *name == bucket.name) && any(&grant.rights))
        });
        Ok(MasterReply::Buckets(buckets))
    }

    fn check_ticket(&self, ticket: &OpenTicket) -> Result<(), MasterError> {
        self.keyring.check_ticket(ticket, self.clock.wall_ms()).map_err(|_| MasterError::BadTicket)
    }

    fn with_tokens(&self, page: Page) -> ManifestPage {
        let expires_ms = self.clock.wall_ms() + READ_TOKEN_TTL_MS;
        let entries = page.stretches.into_iter().map(|Stretch { offset, entry, nodes }| PlacedEntry {
            offset,
            replicas: self.tokens(&entry.extent, nodes, expires_ms),
            entry,
        });
        ManifestPage { entries: entries.collect(), expires_ms }
    }

    fn tokens(&self, extent: &Extent, nodes: Vec<NodeId>, expires_ms: u64) -> Vec<(NodeId, ReadToken)> {
        let Extent::Chunk { address, .. } = extent else { return Vec::new() };
        nodes.into_iter().map(|node| (node, self.keyring.read_token(node, address, expires_ms))).collect()
    }
}
