import { render } from "preact";
import "../../../display/look.css";
import "./style/base.css";
import "./style/query.css";
import "./style/results.css";
import "./style/dialogs.css";
import { App } from "./components/App";
import { restoreTheme } from "./components/Theme";
import { listen } from "./keyboard";
import { start } from "./store";

restoreTheme();
render(<App />, document.getElementById("page")!);
listen();
void start();
