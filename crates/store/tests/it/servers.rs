//! Real servers: nginx as Debian has it, an S3 server, and wires that are cut.

mod cutter;
mod nginx;
mod s3;
