//! `s3-config`: ready settings for programs that speak S3. Secrets are shown only when they are asked for.

use super::presign::{RegionArgs, endpoint, signer};
use crate::failure::Failure;
use crate::output::{Column, Record, left};
use crate::run::Session;
use crate::transfer::Tally;
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Arguments of `s3-config`.
#[derive(Args, Debug)]
pub(crate) struct S3ConfigArgs {
    /// Which program
    #[arg(value_name = "PROGRAM", value_enum)]
    program: Program,
    /// Write the secret too, instead of the word SECRET
    #[arg(long)]
    with_secret: bool,
    /// Bucket to name where one is needed
    #[arg(long, value_name = "BUCKET", default_value = "BUCKET")]
    bucket: String,
    #[command(flatten)]
    region: RegionArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// AWS CLI, version 1 or 2, and everything that reads its files
    Aws,
    /// rclone
    Rclone,
    /// s3cmd
    S3cmd,
    /// boto3 for Python
    Boto3,
    /// restic
    Restic,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Aws => "aws",
            Program::Rclone => "rclone",
            Program::S3cmd => "s3cmd",
            Program::Boto3 => "boto3",
            Program::Restic => "restic",
        }
    }
}

#[derive(Serialize)]
struct ConfigRecord {
    program: &'static str,
    text: String,
}

impl Record for ConfigRecord {
    const COLUMNS: &'static [Column] = &[left("CONFIGURATION")];

    fn kind(&self) -> &'static str {
        "s3_config"
    }

    fn cells(&self, _exact: bool) -> Vec<String> {
        vec![self.text.trim_end().to_owned()]
    }
}

/// What is filled in.
struct Values<'a> {
    scheme: &'a str,
    host: &'a str,
    access: &'a str,
    secret: &'a str,
    region: &'a str,
    bucket: &'a str,
    ca_file: Option<&'a str>,
}

/// Runs `s3-config`.
pub(crate) fn run(session: &Session, args: &S3ConfigArgs) -> Result<Tally, Failure> {
    let settings = session.clients.settings(None)?;
    let (endpoint, signer) = (endpoint(&settings)?, signer(&settings, &args.region.region)?);
    let ca_file = settings.ca_file.as_ref().map(|path| path.display().to_string());
    let values = Values {
        scheme: endpoint.scheme,
        host: &endpoint.host,
        access: &signer.access,
        secret: if args.with_secret { &signer.secret } else { "SECRET" },
        region: &signer.region,
        bucket: &args.bucket,
        ca_file: ca_file.as_deref(),
    };
    session.out.line(&ConfigRecord { program: args.program.name(), text: values.text(args.program) })?;
    Ok(Tally::one(0))
}

impl Values<'_> {
    fn text(&self, program: Program) -> String {
        match program {
            Program::Aws => self.aws(),
            Program::Rclone => self.rclone(),
            Program::S3cmd => self.s3cmd(),
            Program::Boto3 => self.boto3(),
            Program::Restic => self.restic(),
        }
    }

    fn aws(&self) -> String {
        let Values { scheme, host, access, secret, region, .. } = self;
        let ca = self.ca_file.map(|file| format!("ca_bundle = {file}\n")).unwrap_or_default();
        format!(
            "# ~/.aws/config; then: aws --profile cairn s3 ls\n[profile cairn]\nregion = {region}\n\
             endpoint_url = {scheme}://{host}\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n\
             {ca}s3 =\n  addressing_style = path\n"
        )
    }

    fn rclone(&self) -> String {
        let Values { scheme, host, access, secret, region, .. } = self;
        let ca = self.ca_file.map(|file| format!(" (with --ca-cert {file})")).unwrap_or_default();
        format!(
            "# ~/.config/rclone/rclone.conf; then: rclone ls cairn:BUCKET{ca}\n[cairn]\ntype = s3\nprovider = Other\n\
             access_key_id = {access}\nsecret_access_key = {secret}\nregion = {region}\n\
             endpoint = {scheme}://{host}\nforce_path_style = true\n"
        )
    }

    fn s3cmd(&self) -> String {
        let Values { scheme, host, access, secret, region, .. } = self;
        let https = if *scheme == "https" { "True" } else { "False" };
        let ca = self.ca_file.map(|file| format!("ca_certs_file = {file}\n")).unwrap_or_default();
        format!(
            "# ~/.s3cfg; then: s3cmd ls\n[default]\naccess_key = {access}\nsecret_key = {secret}\n\
             bucket_location = {region}\nhost_base = {host}\nhost_bucket = {host}\nuse_https = {https}\n\
             signature_v2 = False\n{ca}"
        )
    }

    fn boto3(&self) -> String {
        let Values { scheme, host, access, secret, region, .. } = self;
        let ca = self.ca_file.map(|file| format!("    verify={file:?},\n")).unwrap_or_default();
        format!(
            "import boto3\nfrom botocore.config import Config\n\ns3 = boto3.client(\n    \"s3\",\n    \
             endpoint_url=\"{scheme}://{host}\",\n    region_name=\"{region}\",\n    \
             aws_access_key_id=\"{access}\",\n    aws_secret_access_key=\"{secret}\",\n{ca}    \
             config=Config(s3={{\"addressing_style\": \"path\"}}),\n)\n"
        )
    }

    fn restic(&self) -> String {
        let Values { scheme, host, access, secret, region, bucket, .. } = self;
        let ca = self.ca_file.map(|file| format!("export RESTIC_CACERT={file}\n")).unwrap_or_default();
        format!(
            "export RESTIC_REPOSITORY=s3:{scheme}://{host}/{bucket}\nexport AWS_ACCESS_KEY_ID={access}\n\
             export AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_DEFAULT_REGION={region}\n{ca}# then: restic init\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_told_where_and_as_whom() {
        let mut values = Values {
            scheme: "https",
            host: "s3.example.org:9000",
            access: "AK1",
            secret: "hunter2",
            region: "eu-1",
            bucket: "photos",
            ca_file: Some("/etc/ca.pem"),
        };
        let programs = [Program::Aws, Program::Rclone, Program::S3cmd, Program::Boto3, Program::Restic];
        for program in programs {
            let text = values.text(program);
            for word in ["s3.example.org:9000", "AK1", "hunter2", "eu-1", "/etc/ca.pem"] {
                assert!(text.contains(word), "{word} is not in {text}");
            }
        }
        values.ca_file = None;
        assert!(programs.iter().all(|program| !values.text(*program).contains("ca.pem")));
    }
}
