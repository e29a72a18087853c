//! Generates the gRPC service. Writes to `OUT_DIR` only.

use std::path::Path;

use anyhow::Result;
use protox::prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto};

/// Generates the service of `hoop/v1/audit.proto` and its messages. Records are hoop-records' own.
fn main() -> Result<()> {
    let definitions = Path::new("../hoop-records/proto");
    let (service, record) = ("hoop/v1/audit.proto", "hoop/v1/record.proto");
    for file in [service, record] {
        println!(
            "cargo::rerun-if-changed={}",
            definitions.join(file).display()
        );
    }
    let descriptors = protox::compile([service], [definitions])?;

    let mut builder = tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        // Encoded records pass as they are.
        .codec_path("crate::grpc::codec::Codec")
        .extern_path(".hoop.v1.StreamResponse", "crate::grpc::codec::Response");
    for file in descriptors.file.iter().filter(|file| file.name() == record) {
        let messages = file.message_type.iter().map(DescriptorProto::name);
        for name in messages.chain(file.enum_type.iter().map(EnumDescriptorProto::name)) {
            builder =
                builder.extern_path(format!(".hoop.v1.{name}"), format!("hoop_records::{name}"));
        }
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
