//! `GET /system/df` in both shapes: lists per kind for clients up to 1.51, sums per kind for those of 1.52 and later.

use bollard_stubs::models as docker;
use serde::Serialize;
use serde_json::Value;

use crate::api::call::Call;
use crate::api::reply::Json;
use crate::engine::EngineError;

/// What occupies the disk, said twice.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WireUsage {
    layers_size: i64,
    images: Vec<Value>,
    containers: Vec<Value>,
    volumes: Vec<Value>,
    build_cache: Vec<Value>,
    #[serde(flatten)]
    sums: docker::SystemDataUsageResponse,
}

pub async fn disk_usage(call: Call) -> Result<Json<WireUsage>, EngineError> {
    call.engine().disk_usage().await.map(|sums| Json(WireUsage::from(sums)))
}

impl From<docker::SystemDataUsageResponse> for WireUsage {
    fn from(mut sums: docker::SystemDataUsageResponse) -> Self {
        Self {
            layers_size: sums.image_usage.as_ref().and_then(|usage| usage.total_size).unwrap_or_default(),
            images: sums.image_usage.as_mut().and_then(|usage| usage.items.take()).unwrap_or_default(),
            containers: sums.container_usage.as_mut().and_then(|usage| usage.items.take()).unwrap_or_default(),
            volumes: sums.volume_usage.as_mut().and_then(|usage| usage.items.take()).unwrap_or_default(),
            build_cache: sums.build_cache_usage.as_mut().and_then(|usage| usage.items.take()).unwrap_or_default(),
            sums,
        }
    }
}
