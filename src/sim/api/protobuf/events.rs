//! Both versions of events (`k8s.io/api/core/v1`, `k8s.io/api/events/v1`).

use super::core::ObjectReference;
use super::messages;
use super::meta::ObjectMeta;
use super::values::{MicroTime, Time};

messages! {
    Event {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        involved_object: Option<ObjectReference> = (message, optional, tag = "2");
        reason: String = (string, tag = "3");
        message: String = (string, tag = "4");
        source: Option<EventSource> = (message, optional, tag = "5");
        first_timestamp: Option<Time> = (message, optional, tag = "6");
        last_timestamp: Option<Time> = (message, optional, tag = "7");
        count: i32 = (int32, tag = "8");
        r#type: String = (string, tag = "9");
        event_time: Option<MicroTime> = (message, optional, tag = "10");
        series: Option<EventSeries> = (message, optional, tag = "11");
        action: String = (string, tag = "12");
        related: Option<ObjectReference> = (message, optional, tag = "13");
        reporting_component: String = (string, tag = "14");
        reporting_instance: String = (string, tag = "15");
    }
    EventSeries {
        count: i32 = (int32, tag = "1");
        last_observed_time: Option<MicroTime> = (message, optional, tag = "2");
    }
    EventSource {
        component: String = (string, tag = "1");
        host: String = (string, tag = "2");
    }
    NewEvent {
        metadata: Option<ObjectMeta> = (message, optional, tag = "1");
        event_time: Option<MicroTime> = (message, optional, tag = "2");
        series: Option<NewEventSeries> = (message, optional, tag = "3");
        reporting_controller: String = (string, tag = "4");
        reporting_instance: String = (string, tag = "5");
        action: String = (string, tag = "6");
        reason: String = (string, tag = "7");
        regarding: Option<ObjectReference> = (message, optional, tag = "8");
        related: Option<ObjectReference> = (message, optional, tag = "9");
        note: String = (string, tag = "10");
        r#type: String = (string, tag = "11");
        deprecated_source: Option<EventSource> = (message, optional, tag = "12");
        deprecated_first_timestamp: Option<Time> = (message, optional, tag = "13");
        deprecated_last_timestamp: Option<Time> = (message, optional, tag = "14");
        deprecated_count: i32 = (int32, tag = "15");
    }
    NewEventSeries {
        count: i32 = (int32, tag = "1");
        last_observed_time: Option<MicroTime> = (message, optional, tag = "2");
    }
}
