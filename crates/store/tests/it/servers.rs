//! Real servers: nginx as Debian has it, an S3 server, those of Google and Azure, and wires that are cut.

mod cutter;
mod google;
mod nginx;
mod s3;
