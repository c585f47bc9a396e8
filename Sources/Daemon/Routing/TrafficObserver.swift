import CSandbox
import Proxy
import Synchronization

/// Notes when requests end.
struct TrafficObserver: ProxyObserver {
    let table: RouteTable

    func requestStarted(_ request: borrowing RoutedRequest, app: App) {}

    func requestEnded(_ summary: RequestSummary) {
        table[summary.app.name]?.lastActivity.store(csandbox_monotonic(), ordering: .relaxed)
    }
}
